//! Why the gateway does not start.

#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    #[error("cannot listen on {listen} for MQTT (set another address with --mqtt): {source}")]
    Listen { listen: String, source: std::io::Error },
    #[error("the MQTT edge does not start: {source}")]
    Edge { source: std::io::Error },
    #[error("{0}")]
    Config(String),
    #[error("the MQTT hub does not start: {0}")]
    Hub(#[from] crate::hub::HubError),
}
