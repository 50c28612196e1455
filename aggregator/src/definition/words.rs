//! How a refusal names the right word: the nearest known one, or all of them.

const ALIKE: f64 = 0.8;

/// `; did you mean …?`, or `; known: …`.
pub fn nearest(word: &str, known: &[&str]) -> String {
    match alike(word, known) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => format!("; known: {}", known.join(", ")),
    }
}

/// The nearest known word, if one is near.
pub fn alike<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let candidates = known.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    let near = candidates.filter(|(likeness, _)| *likeness >= ALIKE);
    near.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, candidate)| candidate)
}
