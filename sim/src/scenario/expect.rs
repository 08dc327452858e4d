//! Expectations: `"attach_latency_ms.p99" = "< 500"` makes a test of a scenario.
//!
//! An expectation is a value (`true`, `7`, a text), or a text of conditions joined by `and`:
//! `< 500`, `<= offered`, `> 0`, `>= 1`, `= offered`, `!= 0`, `198..202` (both included), `200 ± 2 %` (or `+-`).
//! The other side of a comparison is a number or the name of another result.

use std::fmt;

use serde_json::{Map, Value};

use crate::network::units::nearest;

/// What one result has to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// The name of the result, such as `attach_latency_ms.p99`.
    pub result: String,
    /// As written.
    pub expected: String,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Same(Value),
    Compare(Relation, Operand),
    Within(f64, f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
    NotEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Number(f64),
    Result(String),
}

/// An expectation that does not hold, or does.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The name of the result.
    pub result: String,
    /// What it was; `nothing` when there is no such result.
    pub got: String,
    /// As written.
    pub expected: String,
    /// Whether it holds.
    pub holds: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds { "holds" } else { "FAILS" };
        write!(f, "{word}  {}: got {}, expected {}", self.result, self.got, self.expected)
    }
}

pub(super) const FORMS: &str =
    "true, a number, or a text such as \"< 500\", \">= offered\", \"198..202\" or \"200 ± 2 %\"";

impl Expectation {
    /// Reads an expectation of the result `result`.
    ///
    /// # Errors
    /// What was got and what can be written instead.
    pub fn new(result: &str, written: &Value) -> Result<Self, String> {
        let conditions = match written {
            Value::String(text) => {
                let all = text.split(" and ").map(|part| Condition::parse(part.trim()));
                all.collect::<Option<Vec<_>>>().ok_or_else(|| format!("got \"{text}\", expected {FORMS}"))?
            }
            Value::Bool(_) | Value::Number(_) => vec![Condition::Same(written.clone())],
            _ => return Err(format!("got {written}, expected {FORMS}")),
        };
        Ok(Self { result: result.to_owned(), expected: plain(written), conditions })
    }

    /// The results that it names, its own first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let others = self.conditions.iter().filter_map(|condition| match condition {
            Condition::Compare(_, Operand::Result(name)) => Some(name.as_str()),
            _ => None,
        });
        std::iter::once(self.result.as_str()).chain(others)
    }

    /// Does it hold for these results (with flat names)?
    pub fn judge(&self, results: &Map<String, Value>) -> Verdict {
        let got = results.get(&self.result);
        let holds = got.is_some_and(|got| self.conditions.iter().all(|c| c.holds(got, results)));
        let got = got.map_or_else(|| "nothing".to_owned(), plain);
        Verdict { result: self.result.clone(), got, expected: self.expected.clone(), holds }
    }
}

/// A value without the quotes of JSON.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        // The longer ones first: `<=` begins as `<` does.
        let relations = [
            ("<=", Relation::LessOrEqual),
            (">=", Relation::MoreOrEqual),
            ("!=", Relation::NotEqual),
            ("<", Relation::Less),
            (">", Relation::More),
            ("=", Relation::Equal),
        ];
        for (sign, relation) in relations {
            if let Some(rest) = text.strip_prefix(sign) {
                return Some(Self::Compare(relation, Operand::parse(rest.trim())?));
            }
        }
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (finite(low)?, finite(high)?);
            return (low <= high).then_some(Self::Within(low, high));
        }
        if let Some((middle, around)) = text.split_once('±').or_else(|| text.split_once("+-")) {
            let (middle, around) = (finite(middle)?, around.trim());
            let reach = match around.strip_suffix('%') {
                Some(percent) => middle.abs() * finite(percent)? / 100.0,
                None => finite(around)?,
            };
            return (reach >= 0.0).then_some(Self::Within(middle - reach, middle + reach));
        }
        // A hash, say; but nothing that looks like a condition gone wrong.
        let is_word =
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-:".contains(c));
        is_word.then(|| Self::Same(text.into()))
    }

    fn holds(&self, got: &Value, results: &Map<String, Value>) -> bool {
        match self {
            Self::Same(expected) => match (got.as_f64(), expected.as_f64()) {
                (Some(got), Some(expected)) => got.total_cmp(&expected).is_eq(),
                _ => got == expected,
            },
            Self::Within(low, high) => got.as_f64().is_some_and(|got| (*low..=*high).contains(&got)),
            Self::Compare(relation, operand) => {
                let other = match operand {
                    Operand::Number(number) => Some(*number),
                    Operand::Result(name) => results.get(name).and_then(Value::as_f64),
                };
                got.as_f64().zip(other).is_some_and(|(got, other)| relation.holds(got, other))
            }
        }
    }
}

impl Relation {
    fn holds(self, got: f64, other: f64) -> bool {
        match self {
            Self::Less => got < other,
            Self::LessOrEqual => got <= other,
            Self::More => got > other,
            Self::MoreOrEqual => got >= other,
            Self::Equal => got.total_cmp(&other).is_eq(),
            Self::NotEqual => !got.total_cmp(&other).is_eq(),
        }
    }
}

impl Operand {
    fn parse(text: &str) -> Option<Self> {
        if let Some(number) = finite(text) {
            return Some(Self::Number(number));
        }
        let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        is_name.then(|| Self::Result(text.to_owned()))
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// What to say of a result that a kind of scenario does not have.
pub(super) fn unknown_result(name: &str, known: &[&str]) -> String {
    // The list is long: whoever mistyped a name needs one of them.
    match nearest(name, known) {
        Some(near) => format!("got no result `{name}`, expected the name of one; did you mean `{near}`?"),
        None => format!("got no result `{name}`, expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(written: &Value, got: &Value) -> bool {
        let results =
            [("x".to_owned(), got.clone()), ("offered".to_owned(), 100.into())].into_iter().collect();
        Expectation::new("x", written).expect("it is one").judge(&results).holds
    }

    #[test]
    fn each_form_holds_where_it_should_and_only_there() {
        let cases: &[(Value, &[Value], &[Value])] = &[
            (true.into(), &[true.into()], &[false.into(), 1.into(), "true".into()]),
            (7.into(), &[7.into(), 7.0.into()], &[8.into(), "7".into()]),
            ("< 5".into(), &[4.9.into(), (-1).into()], &[5.into(), "4".into(), Value::Null]),
            ("<= 5".into(), &[5.into()], &[5.1.into()]),
            ("> 5".into(), &[6.into()], &[5.into()]),
            (">=5".into(), &[5.into()], &[4.into()]),
            ("= offered".into(), &[100.into()], &[99.into()]),
            ("!= 0".into(), &[1.into()], &[0.into()]),
            ("198..202".into(), &[198.into(), 202.into()], &[197.9.into(), 203.into()]),
            ("200 ± 2 %".into(), &[196.into(), 204.into()], &[195.9.into(), 204.1.into()]),
            ("-10 +- 1".into(), &[(-9).into()], &[(-12).into()]),
            ("> 1 and < 3".into(), &[2.into()], &[1.into(), 3.into()]),
            ("abc123".into(), &["abc123".into()], &["abc".into()]),
        ];
        for (written, yes, no) in cases {
            assert!(yes.iter().all(|got| holds(written, got)), "{written} for {yes:?}");
            assert!(!no.iter().any(|got| holds(written, got)), "{written} for {no:?}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_forms_there_are() {
        for wrong in
            ["<", "< ", "5..", "9..1", "± 3", "200 ± -2 %", "> 1 and", "less than five", "< 1e999", ""]
        {
            let why = Expectation::new("x", &wrong.into()).expect_err(wrong);
            assert!(why.contains("< 500") && why.starts_with("got \""), "{wrong}: {why}");
        }
    }

    #[test]
    fn a_missing_result_fails_and_says_so() {
        let verdict = Expectation::new("y", &"> 1".into()).expect("it is one").judge(&Map::new());
        assert_eq!(verdict.to_string(), "FAILS  y: got nothing, expected > 1");
    }
}
