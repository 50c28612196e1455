//! Reads `golden/*.txt`; golden.rs tells what they are.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every file, in the order of their names.
pub fn all() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[derive(Debug, Default)]
pub struct Step {
    pub title: String,
    pub request: Vec<u8>,
    pub expected: Expected,
}

#[derive(Debug, Default)]
pub enum Expected {
    #[default]
    Anything,
    Response(Vec<u8>),
    Closed,
}

pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut title = String::new();
    for line in text.lines() {
        match line.trim_end() {
            "" => {}
            "setup" => steps.push(Step::default()),
            "request" => steps.push(Step { title: title.clone(), ..Step::default() }),
            "response" => steps.last_mut().unwrap().expected = Expected::Response(Vec::new()),
            "closed" => steps.last_mut().unwrap().expected = Expected::Closed,
            comment if comment.starts_with('#') => title = comment.trim_start_matches(['#', ' ']).to_owned(),
            hex => {
                let step = steps.last_mut().unwrap();
                let bytes = match &mut step.expected {
                    Expected::Response(bytes) => bytes,
                    _ => &mut step.request,
                };
                bytes.extend(decode_hex(hex));
            }
        }
    }
    steps
}

fn decode_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
