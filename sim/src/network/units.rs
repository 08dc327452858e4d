//! Quantities as people write them: `20s`, `10/s`, `1Mbit/s`, `512B`, `0.1%`. Each is an integer inside, so that every
//! machine computes the same, and each prints as a text that reads back as the same value.

use std::fmt;
use std::str::FromStr;

/// A text that is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Wrong {
    /// The text.
    pub got: String,
    /// What would have been right, in words.
    pub expected: String,
    /// The valid word that is nearest to the one that was written, when one is near.
    pub nearest: Option<String>,
}

impl Wrong {
    /// Without a nearest word.
    pub fn new(got: &str, expected: impl Into<String>) -> Self {
        Self { got: got.to_owned(), expected: expected.into(), nearest: None }
    }

    /// `word` of the text `got` is none of the valid `words`.
    pub fn word(got: &str, word: &str, words: &[&str], expected: impl Into<String>) -> Self {
        // Whoever wrote a valid word made another mistake.
        let nearest = nearest(word, words).filter(|near| *near != word).map(str::to_owned);
        Self { nearest, ..Self::new(got, expected) }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "got \"{}\", expected {}", self.got, self.expected)?;
        self.nearest.as_ref().map_or(Ok(()), |word| write!(f, "; did you mean \"{word}\"?"))
    }
}

/// The word nearest to `word`, when it is near enough for a slip of the finger.
pub fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    // Another case is a smaller slip than another letter.
    let near = words.iter().map(|valid| {
        let letters = strsim::damerau_levenshtein(&lower, &valid.to_lowercase());
        (letters, strsim::damerau_levenshtein(word, valid), *valid)
    });
    near.min().filter(|(_, distance, valid)| *distance <= 1 + valid.len() / 4).map(|(.., valid)| valid)
}

/// A decimal number without sign or exponent, times `unit`, rounded down; `None` when it is none or too large.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || (number.contains('.') && !is_number(fraction)) || fraction.len() > 12 {
        return None;
    }
    let parts = 10_u128.pow(fraction.len() as u32);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from(digits.checked_mul(u128::from(unit))? / parts).ok()
}

/// `value` in units of `unit` as a decimal number without trailing zeros; reads back exactly when `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    if value.is_multiple_of(unit) {
        return (value / unit).to_string();
    }
    let digits = unit.to_string().len() - 1;
    let text = format!("{}.{:0digits$}", value / unit, value % unit);
    text.trim_end_matches('0').to_owned()
}

/// The number and the unit behind it.
fn split(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

/// Reads `text` as a number with one of `units` (name, factor).
fn measure(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, Wrong> {
    let (number, unit) = split(text.trim());
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        return Err(Wrong::word(text, unit, &names, expected));
    };
    scaled(number, *factor).ok_or_else(|| Wrong::new(text, expected))
}

/// Serde through `FromStr` and `Display`.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use as_text;

as_text!(Span, Rate, Bandwidth, Size, Share);

/// A stretch of virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Microseconds.
    pub us: u64,
}

impl Span {
    /// So many microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self { us }
    }
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self { us: ms * 1_000 }
    }
    /// So many seconds.
    pub const fn from_s(s: u64) -> Self {
        Self { us: s * 1_000_000 }
    }
}

impl FromStr for Span {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const UNITS: [(&str, u64); 8] = [
            ("us", 1),
            ("µs", 1),
            ("ms", 1_000),
            ("s", 1_000_000),
            ("m", 60_000_000),
            ("min", 60_000_000),
            ("h", 3_600_000_000),
            ("d", 86_400_000_000),
        ];
        measure(text, &UNITS, "a number and us, ms, s, m or h, such as 50ms").map(Self::from_us)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.us {
            us if us < 1_000 => write!(f, "{us}us"),
            us if us < 1_000_000 => write!(f, "{}ms", decimal(us, 1_000)),
            us if us >= 60_000_000 && us.is_multiple_of(60_000_000) => write!(f, "{}m", us / 60_000_000),
            us => write!(f, "{}s", decimal(us, 1_000_000)),
        }
    }
}

/// How often something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rate {
    /// Millionths of a time per second: 10/s is 10,000,000.
    pub micro_per_s: u64,
}

impl Rate {
    /// So many a second.
    pub const fn per_s(times: u64) -> Self {
        Self { micro_per_s: times * 1_000_000 }
    }
    /// Times a second.
    pub fn as_per_s(self) -> f64 {
        self.micro_per_s as f64 / 1e6
    }
}

impl FromStr for Rate {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const EXPECTED: &str = "a number and /s, /min or /h, such as 10/s";
        let (number, unit) = split(text.trim());
        let per_hour = match unit {
            "/s" => 3_600,
            "/m" | "/min" => 60,
            "/h" => 1,
            _ => return Err(Wrong::word(text, unit, &["/s", "/min", "/h"], EXPECTED)),
        };
        let micro_per_h = scaled(number, 1_000_000 * per_hour).ok_or_else(|| Wrong::new(text, EXPECTED))?;
        Ok(Self { micro_per_s: micro_per_h / 3_600 })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", decimal(self.micro_per_s, 1_000_000))
    }
}

/// What a wire carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth {
    /// Bits per second.
    pub bits_per_s: u64,
}

impl Bandwidth {
    /// For how long so many bytes occupy it, in nanoseconds.
    pub fn ns_of(self, bytes: u64) -> u64 {
        let ns = u128::from(bytes) * 8_000_000_000 / u128::from(self.bits_per_s.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

impl FromStr for Bandwidth {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const UNITS: [(&str, u64); 4] =
            [("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];
        let expected = "a number and bit/s, kbit/s, Mbit/s or Gbit/s, such as 1Mbit/s (bits, not bytes)";
        match measure(text, &UNITS, expected)? {
            0 => Err(Wrong::new(text, "more than 0: leave it out for a wire without a limit")),
            bits_per_s => Ok(Self { bits_per_s }),
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits_per_s {
            bits if bits < 1_000 => write!(f, "{bits}bit/s"),
            bits if bits < 1_000_000 => write!(f, "{}kbit/s", decimal(bits, 1_000)),
            bits if bits < 1_000_000_000 => write!(f, "{}Mbit/s", decimal(bits, 1_000_000)),
            bits => write!(f, "{}Gbit/s", decimal(bits, 1_000_000_000)),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size {
    /// Bytes.
    pub bytes: u64,
}

impl Size {
    /// So many bytes.
    pub const fn of(bytes: u64) -> Self {
        Self { bytes }
    }
}

impl FromStr for Size {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const UNITS: [(&str, u64); 6] = [
            ("B", 1),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("KiB", 1_024),
            ("MiB", 1_048_576),
            ("GiB", 1_073_741_824),
        ];
        let bytes = measure(text, &UNITS, "a number and B, kB, MB, KiB or MiB, such as 512B")?;
        Ok(Self { bytes })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            bytes if bytes >= 1_048_576 && bytes.is_multiple_of(1_048_576) => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes >= 1_024 && bytes.is_multiple_of(1_024) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

/// A share of all cases, from none to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share {
    /// Millionths.
    pub ppm: u32,
}

impl FromStr for Share {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const FINER: u64 = 1_000_000;
        const EXPECTED: &str = "a share from 0% to 100%, such as 0.1% (or 0.001)";
        let bare = text.trim();
        // Finer than what is kept, so that a little more than all is more than all.
        let fine = match bare.strip_suffix('%') {
            Some(percent) => scaled(percent.trim_end(), 10_000 * FINER),
            None => scaled(bare, 1_000_000 * FINER),
        };
        let fine =
            fine.filter(|fine| *fine <= 1_000_000 * FINER).ok_or_else(|| Wrong::new(text, EXPECTED))?;
        Ok(Self { ppm: (fine / FINER) as u32 })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", decimal(u64::from(self.ppm), 10_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same<T: FromStr<Err = Wrong> + fmt::Display>(text: &str) -> String {
        text.parse::<T>().map_or_else(|wrong| wrong.to_string(), |value| value.to_string())
    }

    #[test]
    fn quantities_print_as_they_read() {
        for text in ["1us", "999us", "50ms", "1.5ms", "20s", "1.000001s", "2m", "90s", "0us"] {
            assert_eq!(same::<Span>(text), text);
        }
        for text in ["10/s", "0.5/s", "0.016666/s", "1000000/s", "0/s"] {
            assert_eq!(same::<Rate>(text), text);
        }
        for text in ["1Mbit/s", "64kbit/s", "2.5Gbit/s", "999bit/s", "1.5Mbit/s"] {
            assert_eq!(same::<Bandwidth>(text), text);
        }
        for text in ["48B", "4KiB", "1MiB", "1000B", "0B"] {
            assert_eq!(same::<Size>(text), text);
        }
        for text in ["0%", "0.1%", "100%", "12.5%"] {
            assert_eq!(same::<Share>(text), text);
        }
        assert_eq!("0.001".parse::<Share>(), Ok(Share { ppm: 1_000 }));
        assert_eq!("1h".parse::<Span>(), Ok(Span::from_s(3_600)));
        assert_eq!("3600/h".parse::<Rate>(), Ok(Rate::per_s(1)));
        assert_eq!("6 /min".parse::<Rate>(), Ok(Rate { micro_per_s: 100_000 }));
        assert_eq!("1kB".parse::<Size>(), Ok(Size::of(1_000)));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_nearest_word() {
        assert_eq!(
            same::<Bandwidth>("1mbit/s"),
            "got \"1mbit/s\", expected a number and bit/s, kbit/s, Mbit/s or Gbit/s, such as 1Mbit/s (bits, not bytes); \
             did you mean \"Mbit/s\"?"
        );
        for text in ["", "s", "-1s", "1.s", ".5s", "1e3s", "5", "1..2s", "99999999999999999999s", "1 weeks"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["101%", "1.5", "%", "-1%", "1.0000001"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert!("0Mbit/s".parse::<Bandwidth>().is_err());
        assert!("10".parse::<Rate>().is_err());
    }

    #[test]
    fn bandwidth_counts_in_nanoseconds() {
        let megabit: Bandwidth = "1Mbit/s".parse().expect("valid");
        assert_eq!(megabit.ns_of(125_000), 1_000_000_000);
        let gigabit: Bandwidth = "1Gbit/s".parse().expect("valid");
        assert_eq!(gigabit.ns_of(1_500), 12_000);
    }
}
