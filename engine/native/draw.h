// From logits to tokens, a row at a time, with as few looks at the vocabulary as that takes.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "products.h"

// How a row draws. A temperature of 0 takes the most likely token, top_k of 0 and top_p of 1 keep all.
struct Draws {
    const int64_t* seeds;
    const float *temperatures, *top_ps;
    const int32_t* top_ks;
};

// What is no number is as unlikely as can be.
template <class T>
inline Vector logits_at(const T* place) {
    Vector value = load(place);
    return choose(value == value, value, all(-INFINITY));
}

template <class T>
inline float logit_at(const T* place) {
    float value = widen(*place);
    return value == value ? value : -INFINITY;
}

// The first of the largest logits.
template <class T>
int64_t most_likely(const T* logits, int64_t size) {
    Integers at{}, where{};
    for (int lane = 0; lane < LANES; lane++) at[lane] = lane;
    Vector best = all(-INFINITY);
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES, at += LANES) {
        Vector value = logits_at(logits + i);
        Integers is_better = value > best;
        best = choose(is_better, value, best);
        where = (at & is_better) | (where & ~is_better);
    }
    float found = -INFINITY;
    int64_t token = 0;
    for (int lane = 0; lane < LANES && i > 0; lane++)
        if (best[lane] > found || (best[lane] == found && where[lane] < token)) found = best[lane], token = where[lane];
    for (; i < size; i++)
        if (float value = logit_at(logits + i); value > found) found = value, token = i;
    return token;
}

// 53 random bits of a seed as a number from 0 to 1, without 1 (SplitMix64: Steele, Lea and Flood, 2014).
inline double uniform(uint64_t seed) {
    seed += 0x9e3779b97f4a7c15;
    seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
    seed = (seed ^ (seed >> 27)) * 0x94d049bb133111eb;
    return double((seed ^ (seed >> 31)) >> 11) * 0x1p-53;
}

// The lowest weight that top_k and top_p keep: of k tokens, and of those that are more likely than it, less than top_p.
// Only as many are sorted as that takes.
inline float lowest_kept(const float* weights, int64_t size, int64_t top_k, float top_p) {
    static thread_local std::vector<float> sorted;
    sorted.assign(weights, weights + size);
    int64_t num_kept = size;
    float lowest = 0;
    if (top_k > 0 && top_k < size) {
        std::nth_element(sorted.begin(), sorted.begin() + top_k - 1, sorted.end(), std::greater<float>());
        lowest = sorted[top_k - 1];
        // Tokens as likely as the last one that is kept are kept, too.
        num_kept = std::partition(sorted.begin(), sorted.end(), [=](float w) { return w >= lowest; }) - sorted.begin();
    }
    if (top_p < 1) {
        double total = 0, above = 0;
        for (int64_t i = 0; i < num_kept; i++) total += sorted[i];
        for (int64_t done = 0, next = 64; done < num_kept; next *= 4) {
            const int64_t end = std::min(num_kept, done + next);
            std::partial_sort(sorted.begin() + done, sorted.begin() + end, sorted.begin() + num_kept, std::greater<float>());
            for (; done < end; done++) {
                if (done > 0 && above >= top_p * total) return lowest;
                lowest = sorted[done];
                above += lowest;
            }
        }
    }
    return lowest;
}

// A token by its share of the softmax: where a random part of all weights is used up.
template <class T>
int64_t drawn(const T* logits, int64_t size, float temperature, int64_t top_k, float top_p, uint64_t seed) {
    const float best = logit_at(logits + most_likely(logits, size));
    if (std::isinf(best)) return most_likely(logits, size);
    float* weights = scratch(size + LANES);
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) store(weights + i, exponential((logits_at(logits + i) - best) / temperature));
    for (; i < size; i++) weights[i] = std::exp((logit_at(logits + i) - best) / temperature);
    const bool is_limited = (top_k > 0 && top_k < size) || top_p < 1;
    const float lowest = is_limited ? lowest_kept(weights, size, top_k, top_p) : 0;
    double total = 0;
    for (i = 0; i < size; i++) total += weights[i] >= lowest ? weights[i] : 0;
    double left = uniform(seed) * total;
    int64_t token = 0;
    for (i = 0; i < size; i++)
        if (weights[i] >= lowest && weights[i] > 0) {
            token = i;
            if ((left -= weights[i]) < 0) break;
        }
    return token;
}

// One token for each of [rows, size]. Called by all threads of a team.
template <class T>
void draw(int64_t* tokens, const T* logits, int64_t rows, int64_t size, int64_t stride, const Draws& how) {
#pragma omp for schedule(dynamic)
    for (int64_t row = 0; row < rows; row++) {
        const T* from = logits + row * stride;
        tokens[row] = how.temperatures[row] > 0 ? drawn(from, size, how.temperatures[row], how.top_ks[row], how.top_ps[row],
                                                        uint64_t(how.seeds[row]))
                                                : most_likely(from, size);
    }
}
