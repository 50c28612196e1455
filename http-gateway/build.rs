//! The page is embedded from `web/dist` if it has been built. Without it (no Node, a fresh clone) the crate builds all the
//! same and serves a notice; so this script only tells cargo what to watch.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for folder in ["../web/dist", "../web"] {
        if Path::new(folder).exists() {
            println!("cargo:rerun-if-changed={folder}");
            return;
        }
    }
}
