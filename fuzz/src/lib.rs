//! What the fuzz targets share: the broker they ask, the memory they count, the frames they make, what must hold of MQTT packets.

pub mod batches;
mod house;
pub mod memory;
pub mod mqtt;

pub use house::House;
