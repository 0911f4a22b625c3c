// Gives all 16-bit values to the bench, once for each of four digits, one a cycle, and writes its
// words of 32 bits.
#include <cstdio>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

static const int LATENCY = 2;

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    std::FILE* result = std::fopen(argv[1], "wb");
    if (!result) return 3;
    auto context = std::make_unique<VerilatedContext>();
    auto top = std::make_unique<Vtop>(context.get());
    const std::size_t size = sizeof(top->words) / 4;
    top->rst = 0;
    for (int cycle = 0; cycle < 4 * 65536 + LATENCY; ++cycle) {
        top->value = cycle & 65535;
        top->digit = cycle >> 16 & 3;
        top->clk = 0;
        top->eval();
        if (cycle >= LATENCY) std::fwrite(&top->words[0], 4, size, result);
        top->clk = 1;
        top->eval();
    }
    top->final();
    return std::fclose(result) == 0 ? 0 : 4;
}
