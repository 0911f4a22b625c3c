// float_bench PAIRS RESULTS LATENCY: one pair of 32-bit words in, five words out, every cycle.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    std::FILE* source = std::fopen(argv[1], "rb");
    std::FILE* result = std::fopen(argv[2], "wb");
    if (!source || !result) return 2;
    const long latency = std::atol(argv[3]);
    std::fseek(source, 0, SEEK_END);
    const long count = std::ftell(source) / 8;
    std::rewind(source);
    std::vector<uint32_t> pairs(2 * count), words;
    if (std::fread(pairs.data(), 8, count, source) != static_cast<size_t>(count)) return 2;
    words.reserve(5 * count);
    VerilatedContext context;
    Vtop top{&context};
    top.rst = 0;
    for (long cycle = 0; cycle < count + latency; ++cycle) {
        const long now = cycle < count ? cycle : count - 1;
        top.a = pairs[2 * now];
        top.b = pairs[2 * now + 1];
        top.clk = 0;
        top.eval();
        if (cycle >= latency) {
            words.insert(words.end(), {top.half_product, top.total, top.product, top.narrowed,
                                       top.widened});
        }
        top.clk = 1;
        top.eval();
    }
    return std::fwrite(words.data(), 4, words.size(), result) == words.size() ? 0 : 1;
}
