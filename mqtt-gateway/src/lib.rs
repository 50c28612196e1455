//! Aggregate topic to MQTT: normalise, top-N, hub.
