//! How a refusal names the right word: the nearest known one, or all of them.

const ALIKE: f64 = 0.8;

/// `; did you mean …?`, or `; known: …`.
pub fn nearest(word: &str, known: &[&str]) -> String {
    let alike = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match alike {
        Some((_, candidate)) => format!("; did you mean `{candidate}`?"),
        None => format!("; known: {}", known.join(", ")),
    }
}
