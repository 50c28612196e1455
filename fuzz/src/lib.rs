//! What the fuzz targets share: the broker they ask, the memory they count, the frames they make.

pub mod batches;
mod house;
pub mod memory;

pub use house::House;
