//! Windows over a raw topic, exactly once, inside the broker.
