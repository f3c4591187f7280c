// What the library offers (see library.py): each function once for float32 and once for bfloat16.
#include "draw.h"
#include "layer.h"

extern "C" {

int64_t panel_size() { return PANEL; }

#define EACH_TYPE(T, NAME)                                                                                             \
    void rms_norm_##NAME(T* to, const T* from, const T* weight, int64_t rows, int64_t size, float epsilon,            \
                         int threads) {                                                                                \
        _Pragma("omp parallel num_threads(threads)") rms_norms(to, from, weight, rows, size, epsilon);                 \
    }                                                                                                                  \
    void gate_##NAME(T* to, const T* from, int64_t rows, int64_t size, int threads) {                                 \
        _Pragma("omp parallel num_threads(threads)") gates(to, from, rows, size);                                      \
    }                                                                                                                  \
    void product_##NAME(T* out, const T* x, int64_t rows, const Weight<T>* weight, int is_added, int threads) {       \
        _Pragma("omp parallel num_threads(threads)") product(out, x, rows, *weight, is_added != 0);                    \
    }                                                                                                                  \
    void attend_##NAME(T* out, T* packed, const Heads<T>* heads, const Pages<T>* pages, const Step<T>* step,          \
                       int threads) {                                                                                  \
        _Pragma("omp parallel num_threads(threads)") {                                                                 \
            rotate_and_store(packed, *heads, *pages, *step);                                                           \
            attend(out, packed, *heads, *pages, *step);                                                                \
        }                                                                                                              \
    }                                                                                                                  \
    void draw_##NAME(int64_t* tokens, const T* logits, int64_t rows, int64_t size, int64_t stride, const Draws* how,   \
                     int threads) {                                                                                    \
        _Pragma("omp parallel num_threads(threads)") draw(tokens, logits, rows, size, stride, *how);                   \
    }                                                                                                                  \
    void layer_##NAME(T* hidden, const Layer<T>* layer, const Pages<T>* pages, const Step<T>* step,                   \
                      const Workspace<T>* space, int threads) {                                                        \
        _Pragma("omp parallel num_threads(threads)") run_layer(hidden, *layer, *pages, *step, *space);                 \
    }

EACH_TYPE(float, float32)
EACH_TYPE(bfloat16, bfloat16)
}
