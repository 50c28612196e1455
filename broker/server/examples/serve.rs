//! The broker alone, for trying clients against it: `cargo run --example serve -- DATA_DIR HOST:PORT`.

use tifo_broker::{Broker, BrokerConfig, Clock};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = BrokerConfig::default();
    if let Some(data_dir) = arguments.next() {
        config.data_dir = data_dir.into();
    }
    if let Some(listeners) = arguments.next() {
        config.set("listeners", listeners);
    }
    let broker = Broker::start(config, Clock::system()).await?;
    println!("{}", broker.kafka_addr());
    tokio::signal::ctrl_c().await?;
    broker.shutdown().await;
    Ok(())
}
