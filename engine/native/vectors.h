// Vectors of floats as wide as the processor's registers, and 16-bit numbers that widen to them.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

// By instruction set: floats in a register, and how many registers of outputs by how many rows a product keeps, with
// what else it needs, without spilling: 3 x 8 of 32, 2 x 6 of 16.
#if defined(__AVX512F__)
constexpr int LANES = 16, PANEL_VECTORS = 3, TILE_ROWS = 8;
#elif defined(__AVX2__)
constexpr int LANES = 8, PANEL_VECTORS = 2, TILE_ROWS = 6;
#elif defined(__aarch64__)
constexpr int LANES = 4, PANEL_VECTORS = 3, TILE_ROWS = 8;
#else
constexpr int LANES = 4, PANEL_VECTORS = 2, TILE_ROWS = 6;
#endif
constexpr int PANEL = LANES * PANEL_VECTORS;

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef float FloatsInMemory __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef uint32_t WordsInMemory __attribute__((vector_size(LANES * 4), aligned(2), may_alias));

struct bfloat16 {
    uint16_t bits;
};

inline float widen(float value) { return value; }

inline float widen(bfloat16 value) {
    uint32_t bits = uint32_t(value.bits) << 16;
    float widened;
    memcpy(&widened, &bits, 4);
    return widened;
}

inline void narrow(float value, float* to) { *to = value; }

// To the nearest, halves to even. What is not a number stays so: rounding could carry its last bits away.
inline void narrow(float value, bfloat16* to) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    to->bits = value != value ? 0x7fc0 : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline Vector load(const float* from) { return *reinterpret_cast<const FloatsInMemory*>(from); }

inline Vector load(const bfloat16* from) {
    Words bits = __builtin_convertvector(*reinterpret_cast<const Halves*>(from), Words) << 16;
    return reinterpret_cast<Vector>(bits);
}

inline void store(float* to, Vector value) { *reinterpret_cast<FloatsInMemory*>(to) = value; }

inline void store(bfloat16* to, Vector value) {
    Words bits = reinterpret_cast<Words>(value);
    Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    Words is_number = reinterpret_cast<Words>(value == value);
    rounded = (rounded & is_number) | (0x7fc0 & ~is_number);
    *reinterpret_cast<Halves*>(to) = __builtin_convertvector(rounded, Halves);
}

inline Vector all(float value) { return value - Vector{}; }

inline Vector choose(Integers condition, Vector yes, Vector no) {
    return reinterpret_cast<Vector>((reinterpret_cast<Integers>(yes) & condition) |
                                    (reinterpret_cast<Integers>(no) & ~condition));
}

inline Vector larger(Vector a, Vector b) { return choose(a > b, a, b); }

inline float sum(Vector value) {
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += value[lane];
    return total;
}

inline float largest(Vector value) {
    float found = value[0];
    for (int lane = 1; lane < LANES; lane++) found = value[lane] > found ? value[lane] : found;
    return found;
}

// Of `LANES` vectors, the sum of each, in order: neighbours are added up until one vector is left.
inline Vector sums(Vector* rows) {
    Integers even, odd;
    for (int lane = 0; lane < LANES; lane++) {
        even[lane] = 2 * lane;
        odd[lane] = 2 * lane + 1;
    }
    for (int left = LANES / 2; left > 0; left /= 2)
        for (int pair = 0; pair < left; pair++) {
            Vector a = rows[2 * pair], b = rows[2 * pair + 1];
            rows[pair] = __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
        }
    return rows[0];
}

// Turns a square of `LANES` vectors: rows become columns. Each round puts two halves together, card by card.
inline void transpose(Vector* rows) {
    Integers low, high;
    for (int lane = 0; lane < LANES; lane++) {
        low[lane] = lane / 2 + lane % 2 * LANES;
        high[lane] = low[lane] + LANES / 2;
    }
    for (int round = 1; round < LANES; round *= 2) {
        Vector next[LANES];
        for (int pair = 0; pair < LANES / 2; pair++) {
            next[2 * pair] = __builtin_shuffle(rows[pair], rows[pair + LANES / 2], low);
            next[2 * pair + 1] = __builtin_shuffle(rows[pair], rows[pair + LANES / 2], high);
        }
        for (int row = 0; row < LANES; row++) rows[row] = next[row];
    }
}

// e to the power of x, within two units in the last place. Below -87 it is 0, also of minus infinity.
// 2^n * e^r with |r| <= ln(2) / 2, ln(2) in two parts (Cody and Waite), and e^r by its series.
inline Vector exponential(Vector x) {
    Integers is_zero = x < -87.0f;
    x = choose(is_zero, Vector{}, x);
    x = choose(x > 88.0f, all(88.0f), x);
    constexpr float SHIFT = 12582912.0f;  // adding it rounds to an integer, in the lowest bits
    Vector shifted = x * 1.44269504f + SHIFT;
    Vector n = shifted - SHIFT;
    Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vector power = all(1.0f / 5040);
    power = power * r + 1.0f / 720;
    power = power * r + 1.0f / 120;
    power = power * r + 1.0f / 24;
    power = power * r + 1.0f / 6;
    power = power * r + 0.5f;
    power = power * r + 1.0f;
    power = power * r + 1.0f;
    Integers scaled = reinterpret_cast<Integers>(power) + __builtin_convertvector(n, Integers) * (1 << 23);
    return choose(is_zero, Vector{}, reinterpret_cast<Vector>(scaled));
}
