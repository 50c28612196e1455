//! What a value must be, in Kafka's words.

use super::{Setting, SettingType, list};

/// What a value must be besides being of its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Legal {
    Any,
    NotEmpty,
    AtLeast(i64),
    Between(f64, f64),
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    /// Exactly one of them.
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// `*`, or a list of partition:broker.
    ThrottledReplicas,
    /// A list of them.
    Among(&'static [&'static str]),
}

impl Setting {
    /// Checks a value; the complaint is Kafka's.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let complaint = match self.complaint_on_type(value) {
            Some(complaint) => Some(complaint),
            None => self.legal.complaint(value),
        };
        match complaint {
            None => Ok(()),
            Some(complaint) => {
                Err(format!("Invalid value {} for configuration {}: {complaint}", self.normal(value), self.name))
            }
        }
    }

    /// Numbers with a fraction are shown as Java shows them.
    fn normal(&self, value: &str) -> String {
        match (self.kind, value.trim().parse::<f64>()) {
            (SettingType::Double, Ok(number)) => format!("{number:?}"),
            _ => value.to_owned(),
        }
    }

    fn complaint_on_type(&self, value: &str) -> Option<String> {
        let value = value.trim();
        let (is_right, complaint) = match self.kind {
            SettingType::Boolean => (
                matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
                "Expected value to be either true or false",
            ),
            SettingType::Int => (value.parse::<i32>().is_ok(), "Not a number of type INT"),
            SettingType::Short => (value.parse::<i16>().is_ok(), "Not a number of type SHORT"),
            SettingType::Long => (value.parse::<i64>().is_ok(), "Not a number of type LONG"),
            SettingType::Double => (value.parse::<f64>().is_ok(), "Not a number of type DOUBLE"),
            SettingType::String | SettingType::List | SettingType::Class | SettingType::Password => (true, ""),
        };
        (!is_right).then(|| complaint.to_owned())
    }
}

impl Legal {
    fn complaint(self, value: &str) -> Option<String> {
        let number = value.trim().parse::<f64>().unwrap_or(0.0);
        let one_of = |words: &[&str]| format!("String must be one of: {}", words.join(", "));
        match self {
            Self::Any => None,
            Self::NotEmpty => value.is_empty().then(|| "String must be non-empty".to_owned()),
            Self::AtLeast(least) => {
                let is_less = value.trim().parse::<i64>().is_ok_and(|value| value < least);
                is_less.then(|| format!("Value must be at least {least}"))
            }
            Self::Between(least, _) if number < least => Some(format!("Value must be at least {least}")),
            Self::Between(_, most) if number > most => Some(format!("Value must be no more than {most}")),
            Self::Between(..) => None,
            Self::GzipLevel => {
                let is_legal = number == -1.0 || (1.0..=9.0).contains(&number);
                (!is_legal).then(|| "Value must be between 1 and 9 or equal to -1".to_owned())
            }
            Self::ThrottledReplicas => {
                let is_number = |text: &str| text.parse::<u32>().is_ok();
                let is_pair =
                    |item: &str| item.split_once(':').is_some_and(|(one, other)| is_number(one) && is_number(other));
                let is_legal = value.trim() == "*" || list(value).all(is_pair);
                (!is_legal).then(|| "Must be * or a list of [partitionId]:[brokerId]".to_owned())
            }
            Self::OneOf(words) => (!words.contains(&value)).then(|| one_of(words)),
            Self::OneOfAnyCase(words) => {
                let is_legal = words.iter().any(|word| word.eq_ignore_ascii_case(value));
                (!is_legal).then(|| one_of(words).replacen("String must", "String must (case insensitive)", 1))
            }
            Self::Among(words) => (!list(value).all(|item| words.contains(&item))).then(|| one_of(words)),
        }
    }
}
