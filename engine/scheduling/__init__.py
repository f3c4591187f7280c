"""Which requests take part in a step: admission, order, prefill budget, preemption."""
