//! tifo-scale: the tree of clusters and nodes for more viewers than any machine here holds.
//!
//! Job: from the measured figures of one node (`figures.toml`) work out how many nodes a crowd needs and what they cost, follow a window's messages
//! down the tree, and lose every role once. Deterministic: the same figures and seed give the same text, which docs/scale.md holds.
//! Place: a program of its own; it measures nothing and opens no socket. `tifo-scale [FIGURES.toml]` prints the tables.

mod figures;
mod latency;
mod plan;
mod random;
mod recovery;
mod table;

use figures::Figures;

fn main() -> Result<(), String> {
    let figures = match std::env::args().nth(1) {
        Some(path) => Figures::read(&std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?)?,
        None => Figures::built_in()?,
    };
    print!("{}", table::all(&figures).map_err(|e| e.to_string())?);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const BEGIN: &str = "<!-- Made by bench/scale -->\n";
    const END: &str = "<!-- End of what bench/scale made -->\n";

    #[test]
    fn tifo_scale_says_what_the_document_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scale.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (present, after) = rest.split_once(END).unwrap();
        let made = table::all(&Figures::built_in().unwrap()).unwrap();
        if present == made {
            return;
        }
        assert!(std::env::var_os("TIFO_BLESS").is_some(), "docs/scale.md is behind: run with TIFO_BLESS=1");
        fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    }
}
