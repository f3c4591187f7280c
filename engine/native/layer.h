// A whole decoder layer, by one team of threads.
#pragma once
#include "attention.h"

// A layer that norms before attention and before its gated MLP, and adds both to what came in.
template <class T>
struct Layer {
    int64_t hidden_size, mlp_size;
    const T *attention_norm, *mlp_norm;  // [hidden size]
    float attention_epsilon, mlp_epsilon;
    Weight<T> queries_keys_values, output, gate_up, down;
    Heads<T> heads;
};

// Memory for what a layer keeps of its rows: the widest of each at a time.
template <class T>
struct Workspace {
    T *normed, *packed, *attended, *gate_up, *gated;
};

template <class T>
void run_layer(T* hidden, const Layer<T>& layer, const Pages<T>& pages, const Step<T>& step, const Workspace<T>& space) {
    const int64_t rows = step.num_rows;
    rms_norms(space.normed, hidden, layer.attention_norm, rows, layer.hidden_size, layer.attention_epsilon);
    product(space.packed, space.normed, rows, layer.queries_keys_values, false);
    rotate_and_store(space.packed, layer.heads, pages, step);
    attend(space.attended, space.packed, layer.heads, pages, step);
    product(hidden, space.attended, rows, layer.output, true);
    rms_norms(space.normed, hidden, layer.mlp_norm, rows, layer.hidden_size, layer.mlp_epsilon);
    product(space.gate_up, space.normed, rows, layer.gate_up, false);
    gates(space.gated, space.gate_up, rows, layer.mlp_size);
    product(hidden, space.gated, rows, layer.down, true);
}
