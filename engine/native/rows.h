// What is done to each row by itself, between the products.
#pragma once
#include <cmath>

#include "vectors.h"

// to = from / sqrt(mean(from ^ 2) + epsilon) * weight, of `size` numbers. May be done in place.
template <class T>
inline void rms_norm(T* to, const T* from, const T* weight, int64_t size, float epsilon) {
    Vector squares{};
    float rest = 0;
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) {
        Vector value = load(from + i);
        squares += value * value;
    }
    for (int64_t j = i; j < size; j++) rest += widen(from[j]) * widen(from[j]);
    const float factor = 1 / std::sqrt((sum(squares) + rest) / size + epsilon);
    for (i = 0; i + LANES <= size; i += LANES) store(to + i, load(from + i) * factor * load(weight + i));
    for (; i < size; i++) narrow(widen(from[i]) * factor * widen(weight[i]), to + i);
}

// The same of every row of [rows, size]. Called by all threads of a team.
template <class T>
void rms_norms(T* to, const T* from, const T* weight, int64_t rows, int64_t size, float epsilon) {
#pragma omp for
    for (int64_t row = 0; row < rows; row++) rms_norm(to + row * size, from + row * size, weight, size, epsilon);
}

// to [rows, size] = silu(gate) * up, of [rows, 2 * size] with the gate first. Called by all threads of a team.
template <class T>
void gates(T* to, const T* from, int64_t rows, int64_t size) {
#pragma omp for
    for (int64_t row = 0; row < rows; row++) {
        const T *gate = from + row * 2 * size, *up = gate + size;
        T* out = to + row * size;
        int64_t i = 0;
        for (; i + LANES <= size; i += LANES) {
            Vector value = load(gate + i);
            store(out + i, value / (1 + exponential(-value)) * load(up + i));
        }
        for (; i < size; i++) {
            float value = widen(gate[i]);
            narrow(value / (1 + std::exp(-value)) * widen(up[i]), out + i);
        }
    }
}
