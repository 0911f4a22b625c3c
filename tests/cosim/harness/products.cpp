// Gives all pairs of int8 operands to the bench, one pair a cycle, and writes its 256-bit words.
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
    top->rst = 0;
    for (int cycle = 0; cycle < 65536 + LATENCY; ++cycle) {
        top->a = cycle & 255;
        top->b = (cycle >> 8) & 255;
        top->clk = 0;
        top->eval();
        if (cycle >= LATENCY) std::fwrite(&top->words[0], 4, 8, result);
        top->clk = 1;
        top->eval();
    }
    top->final();
    return std::fclose(result) == 0 ? 0 : 4;
}
