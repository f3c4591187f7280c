// Rows times a matrix of weights that has been laid out in panels.
#pragma once
#include <algorithm>
#include <memory>

#include "vectors.h"

// A matrix [outputs, inputs] as panels of `PANEL` outputs: [panels, inputs, PANEL], the last one filled up with zeros. Of
// bfloat16, two inputs lie beside each other: [panels, inputs / 2, PANEL, 2].
template <class T>
struct Weight {
    const T* panels;
    const T* bias;  // [outputs], or null
    int64_t num_outputs, num_inputs;
};

// Inputs that are multiplied at a time: what a panel has of them stays in the second level cache while rows go by.
constexpr int64_t INPUT_BLOCK = 768;

// How far ahead of its use a weight is asked for, in bytes: the time that memory takes.
constexpr int64_t AHEAD_BYTES = 4608;

inline void ask_for(const void* place) {
    const char* first = static_cast<const char*>(place) + AHEAD_BYTES;
    for (int line = 0; line < PANEL * 4; line += 64) __builtin_prefetch(first + line);
}

// Adds the products of ROWS rows with one panel to `totals` [ROWS, PANEL].
template <int ROWS>
inline void multiply(const float* x, int64_t row_size, const float* panel, int64_t num_inputs, float* totals) {
    Vector sums[ROWS][PANEL_VECTORS];
    for (int row = 0; row < ROWS; row++)
        for (int j = 0; j < PANEL_VECTORS; j++) sums[row][j] = load(totals + row * PANEL + j * LANES);
    for (int64_t k = 0; k < num_inputs; k++, panel += PANEL) {
        Vector weights[PANEL_VECTORS];
        for (int j = 0; j < PANEL_VECTORS; j++) weights[j] = load(panel + j * LANES);
        ask_for(panel);
        for (int row = 0; row < ROWS; row++) {
            Vector value = all(x[row * row_size + k]);
            for (int j = 0; j < PANEL_VECTORS; j++) sums[row][j] += value * weights[j];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int j = 0; j < PANEL_VECTORS; j++) store(totals + row * PANEL + j * LANES, sums[row][j]);
}

template <int ROWS>
inline void multiply(const bfloat16* x, int64_t row_size, const bfloat16* panel, int64_t num_inputs, float* totals) {
    Vector sums[ROWS][PANEL_VECTORS];
    for (int row = 0; row < ROWS; row++)
        for (int j = 0; j < PANEL_VECTORS; j++) sums[row][j] = load(totals + row * PANEL + j * LANES);
    for (int64_t k = 0; k < num_inputs; k += 2, panel += 2 * PANEL) {
        ask_for(panel);
#if defined(__AVX512BF16__)
        __m512bh pairs[PANEL_VECTORS];
        for (int j = 0; j < PANEL_VECTORS; j++)
            pairs[j] = (__m512bh)_mm512_loadu_si512(panel + 2 * j * LANES);
        for (int row = 0; row < ROWS; row++) {
            int32_t pair;
            memcpy(&pair, x + row * row_size + k, 4);
            for (int j = 0; j < PANEL_VECTORS; j++)
                sums[row][j] = (Vector)_mm512_dpbf16_ps((__m512)sums[row][j], (__m512bh)_mm512_set1_epi32(pair), pairs[j]);
        }
#else
        for (int j = 0; j < PANEL_VECTORS; j++) {
            Words pairs = *reinterpret_cast<const WordsInMemory*>(panel + 2 * j * LANES);
            Vector first = reinterpret_cast<Vector>(pairs << 16), second = reinterpret_cast<Vector>(pairs & 0xffff0000u);
            for (int row = 0; row < ROWS; row++) {
                const bfloat16* pair = x + row * row_size + k;
                sums[row][j] += all(widen(pair[0])) * first + all(widen(pair[1])) * second;
            }
        }
#endif
    }
    for (int row = 0; row < ROWS; row++)
        for (int j = 0; j < PANEL_VECTORS; j++) store(totals + row * PANEL + j * LANES, sums[row][j]);
}

// The same for a number of rows that is known only now, `TILE_ROWS` at most.
template <class T, int ROWS = TILE_ROWS>
inline void multiply_rows(int64_t rows, const T* x, int64_t row_size, const T* panel, int64_t num_inputs, float* totals) {
    if (rows == ROWS) return multiply<ROWS>(x, row_size, panel, num_inputs, totals);
    if constexpr (ROWS > 1) multiply_rows<T, ROWS - 1>(rows, x, row_size, panel, num_inputs, totals);
}

// Memory of a thread that is kept from call to call.
inline float* scratch(int64_t count) {
    static thread_local std::unique_ptr<float[]> memory;
    static thread_local int64_t size = 0;
    if (size < count) {
        memory.reset();
        memory.reset(new float[count + count / 4]);
        size = count + count / 4;
    }
    return memory.get();
}

// out [rows, outputs] = x [rows, inputs] times the weight, or is raised by it. Called by all threads of a team.
template <class T>
void product(T* out, const T* x, int64_t rows, const Weight<T>& weight, bool is_added) {
    const int64_t num_outputs = weight.num_outputs, num_inputs = weight.num_inputs;
    const int64_t num_panels = (num_outputs + PANEL - 1) / PANEL;
    const int64_t input_block = INPUT_BLOCK * 4 / sizeof(T);
    float* totals = scratch(rows * PANEL);
    // Whoever is free takes the next panel: a thread that the system holds up does not hold up the others.
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < num_panels; number++) {
        const T* panel = weight.panels + number * num_inputs * PANEL;
        const int64_t first = number * PANEL, count = std::min<int64_t>(PANEL, num_outputs - first);
        for (int j = 0; j < PANEL; j++) totals[j] = weight.bias && j < count ? widen(weight.bias[first + j]) : 0;
        for (int64_t row = 1; row < rows; row++) std::copy(totals, totals + PANEL, totals + row * PANEL);
        for (int64_t k = 0; k < num_inputs; k += input_block)
            for (int64_t row = 0; row < rows; row += TILE_ROWS)
                multiply_rows<T>(std::min<int64_t>(TILE_ROWS, rows - row), x + row * num_inputs + k, num_inputs,
                                 panel + k * PANEL, std::min(input_block, num_inputs - k), totals + row * PANEL);
        for (int64_t row = 0; row < rows; row++) {
            T* to = out + row * num_outputs + first;
            const float* from = totals + row * PANEL;
            if (count == PANEL)
                for (int j = 0; j < PANEL; j += LANES) store(to + j, is_added ? load(to + j) + load(from + j) : load(from + j));
            else
                for (int j = 0; j < count; j++) narrow(is_added ? widen(to[j]) + from[j] : from[j], to + j);
        }
    }
}
