//! How long a way takes: distributions, and matrices of them. Integers and `libm` only, so that every machine draws the
//! same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::params::Problem;
use super::units::{Span, Wrong, as_text};
use crate::dice::Dice;

/// No way takes longer, whatever the tail of its distribution: QUIC gives a connection up after so long a silence.
pub const DELAY_MAX: Span = Span::from_s(60);
/// Most sites of a matrix.
pub const SITES_MAX: usize = 1_024;
/// Draws of a truncated distribution before its least value is taken. A truncation that cuts away half of the
/// distribution comes here once in 2⁶⁴ draws.
const TRIES_MAX: usize = 64;

const WORDS: [&str; 6] = ["constant", "uniform", "normal", "pareto", "lognormal", "matrix"];
const EXPECTED: &str = "a time such as 50ms, uniform:50ms..100ms, normal:80ms~10ms (,min=20ms), \
                        pareto:20ms,1.5 (least, shape), lognormal:60ms,0.5 (median, sigma), or matrix:FILE";

/// How long a frame is on its way, apart from the time that its bytes need on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Delay {
    /// Always the same.
    Constant(Span),
    /// Uniform between two times, both of them included, in whole microseconds.
    Uniform {
        /// Shortest.
        low: Span,
        /// Longest.
        high: Span,
    },
    /// Normal, drawn again while it falls below `least`.
    Normal {
        /// Mean before truncation.
        mean: Span,
        /// Standard deviation before truncation.
        deviation: Span,
        /// Shortest.
        least: Span,
    },
    /// Pareto: P(longer than x) = (least ÷ x)^shape. Heavy-tailed: with a shape of 2 or less the variance is infinite,
    /// with 1 or less the mean, but for [`DELAY_MAX`].
    Pareto {
        /// Shortest.
        least: Span,
        /// Weight of the tail: the smaller the heavier.
        shape: f64,
    },
    /// The logarithm is normal.
    LogNormal {
        /// Median.
        median: Span,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// By the sites of both ends.
    Matrix(Matrix),
}

as_text!(Delay);

/// Delays between sites, from a file:
///
/// ```text
/// # from the row's site to the column's, in milliseconds or with a unit; a cell may be a distribution, without blanks
///          berlin   oslo               turin
/// berlin   0.3      14                 19ms
/// oslo     14       0.3                uniform:24ms..30ms
/// turin    19       normal:27ms~2ms    0.3
/// ```
///
/// With the topology `sites:…` row n is the n-th site; otherwise gateway g stands at row g modulo the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// As it was named.
    file: PathBuf,
    /// What was in it, once [`Delay::load_file`] has read it.
    table: Option<Arc<Table>>,
}

#[derive(Debug, PartialEq)]
struct Table {
    sites: usize,
    /// Row by row.
    cells: Vec<Delay>,
}

impl FromStr for Delay {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        let Some((word, rest)) = text.split_once(':') else {
            return text.parse().map(Self::Constant).map_err(|_| Wrong::word(text, text, &WORDS, EXPECTED));
        };
        let wrong = || Wrong::new(text, EXPECTED);
        let span = |part: &str| part.trim().parse::<Span>().map_err(|_| wrong());
        let number = |part: &str, most: f64| {
            let number: f64 = part.trim().parse().map_err(|_| wrong())?;
            let is_fine = number > 0.0 && number <= most;
            is_fine
                .then_some(number)
                .ok_or_else(|| Wrong::new(text, format!("a number above 0, at most {most}")))
        };
        let delay = match word {
            "constant" => Self::Constant(span(rest)?),
            "uniform" => {
                let (low, high) = rest.split_once("..").ok_or_else(wrong)?;
                let (low, high) = (span(low)?, span(high)?);
                if low > high {
                    return Err(Wrong::new(text, format!("the shorter time first: uniform:{high}..{low}")));
                }
                Self::Uniform { low, high }
            }
            "normal" => {
                let (mean, rest) = rest.split_once('~').ok_or_else(wrong)?;
                let (deviation, least) = rest.split_once(",min=").unwrap_or((rest, "0ms"));
                let (mean, deviation, least) = (span(mean)?, span(deviation)?, span(least)?);
                if least > mean {
                    return Err(Wrong::new(text, format!("a least value of at most the mean, {mean}")));
                }
                Self::Normal { mean, deviation, least }
            }
            "pareto" => {
                let (least, shape) = rest.split_once(',').ok_or_else(wrong)?;
                Self::Pareto { least: span(least)?, shape: number(shape, 100.0)? }
            }
            "lognormal" => {
                let (median, sigma) = rest.split_once(',').ok_or_else(wrong)?;
                Self::LogNormal { median: span(median)?, sigma: number(sigma, 5.0)? }
            }
            "matrix" if !rest.is_empty() => Self::Matrix(Matrix { file: PathBuf::from(rest), table: None }),
            _ => return Err(Wrong::word(text, word, &WORDS, EXPECTED)),
        };
        if delay.typical(0, 0) > DELAY_MAX {
            return Err(Wrong::new(text, format!("at most {DELAY_MAX}")));
        }
        Ok(delay)
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(span) => write!(f, "{span}"),
            Self::Uniform { low, high } => write!(f, "uniform:{low}..{high}"),
            Self::Normal { mean, deviation, least } if least.us == 0 => {
                write!(f, "normal:{mean}~{deviation}")
            }
            Self::Normal { mean, deviation, least } => write!(f, "normal:{mean}~{deviation},min={least}"),
            Self::Pareto { least, shape } => write!(f, "pareto:{least},{shape}"),
            Self::LogNormal { median, sigma } => write!(f, "lognormal:{median},{sigma}"),
            Self::Matrix(matrix) => write!(f, "matrix:{}", matrix.file.display()),
        }
    }
}

impl Delay {
    /// Draws the way of one packet from one site to another.
    ///
    /// # Panics
    /// When a matrix was not loaded: [`Params::check`](super::params::Params::check) refuses that.
    pub fn draw_us(&self, from: usize, to: usize, dice: &mut Dice) -> u64 {
        let us = match self {
            Self::Constant(span) => span.us,
            Self::Uniform { low, high } => dice.between(low.us, high.us),
            Self::Normal { mean, deviation, least } => {
                let draw = || mean.us as f64 + deviation.us as f64 * normal(dice);
                let drawn = std::iter::repeat_with(draw).take(TRIES_MAX).find(|us| *us >= least.us as f64);
                drawn.map_or(least.us, whole_us)
            }
            Self::Pareto { least, shape } => {
                whole_us(least.us as f64 * libm::exp(-libm::log(unit_above_0(dice)) / shape))
            }
            Self::LogNormal { median, sigma } => whole_us(median.us as f64 * libm::exp(sigma * normal(dice))),
            Self::Matrix(matrix) => return matrix.cell(from, to).draw_us(from, to, dice),
        };
        us.min(DELAY_MAX.us)
    }

    /// The median, near enough: what a connection takes for usual.
    pub fn typical(&self, from: usize, to: usize) -> Span {
        let us = match self {
            Self::Constant(span) => span.us,
            Self::Uniform { low, high } => u64::midpoint(low.us, high.us),
            Self::Normal { mean, .. } => mean.us,
            Self::Pareto { least, shape } => {
                whole_us(least.us as f64 * libm::exp(std::f64::consts::LN_2 / shape))
            }
            Self::LogNormal { median, .. } => median.us,
            Self::Matrix(matrix) if matrix.table.is_none() => 0,
            Self::Matrix(matrix) => return matrix.cell(from, to).typical(from, to),
        };
        Span::from_us(us)
    }

    /// Sites of a matrix.
    pub fn sites(&self) -> Option<usize> {
        match self {
            Self::Matrix(matrix) => matrix.table.as_ref().map(|table| table.sites),
            _ => None,
        }
    }

    /// Is it a matrix that was not read?
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Matrix(Matrix { table: None, .. }))
    }

    /// Reads the file of a matrix; a relative name starts at `folder`.
    ///
    /// # Errors
    /// What is wrong with it, under `key`: line and column.
    pub fn load_file(&mut self, key: &str, folder: &Path) -> Result<(), Problem> {
        let Self::Matrix(matrix) = self else { return Ok(()) };
        let path = folder.join(&matrix.file);
        let name = path.display();
        let text = std::fs::read_to_string(&path).map_err(|why| {
            Problem::new(key, format!("{name}, which cannot be read: {why}"), "a file of delays")
        })?;
        let table = Table::parse(&text).map_err(|wrong| {
            Problem::new(
                key,
                format!("{name}:{}:{}: {}", wrong.line, wrong.column, wrong.got),
                wrong.expected,
            )
        })?;
        matrix.table = Some(Arc::new(table));
        Ok(())
    }
}

impl Matrix {
    fn cell(&self, from: usize, to: usize) -> &Delay {
        let table = self.table.as_ref().expect("Params::check refuses a matrix that was not loaded");
        &table.cells[from % table.sites * table.sites + to % table.sites]
    }
}

struct WrongCell {
    line: usize,
    column: usize,
    got: String,
    expected: String,
}

impl Table {
    fn parse(text: &str) -> Result<Self, WrongCell> {
        let mut names: Vec<&str> = Vec::new();
        let mut cells: Vec<Delay> = Vec::new();
        let mut rows = 0;
        let mut last_line = 1;
        for (line, whole) in (1..).zip(text.lines()) {
            let bare = whole.split('#').next().unwrap_or("");
            let words: Vec<(usize, &str)> = words(bare).collect();
            let Some((first_column, first)) = words.first().copied() else { continue };
            last_line = line;
            let wrong = |column: usize, got: &str, expected: String| WrongCell {
                line,
                column,
                got: got.to_owned(),
                expected,
            };
            if names.is_empty() {
                names = words.iter().map(|(_, word)| *word).collect();
                if names.len() > SITES_MAX {
                    return Err(wrong(1, &format!("{} sites", names.len()), format!("at most {SITES_MAX}")));
                }
                if let Some((column, name)) =
                    words.iter().enumerate().find(|(at, w)| names[..*at].contains(&w.1)).map(|(_, w)| *w)
                {
                    return Err(wrong(
                        column,
                        &format!("site \"{name}\" for the second time"),
                        "each site once".to_owned(),
                    ));
                }
                continue;
            }
            let Some(name) = names.get(rows) else {
                return Err(wrong(
                    first_column,
                    &format!("row \"{first}\""),
                    format!("no more than {} rows, one for each column", names.len()),
                ));
            };
            if first != *name {
                return Err(wrong(
                    first_column,
                    &format!("row \"{first}\""),
                    format!("the row of \"{name}\", in the order of the columns"),
                ));
            }
            if words.len() != names.len() + 1 {
                let column = words
                    .get(names.len() + 1)
                    .map_or(bare.trim_end().chars().count() + 1, |(column, _)| *column);
                return Err(wrong(
                    column,
                    &format!("{} delays", words.len() - 1),
                    format!("{}, one for each column", names.len()),
                ));
            }
            for (column, word) in &words[1..] {
                cells.push(
                    cell(word).map_err(|refusal| wrong(*column, &format!("\"{word}\""), refusal.expected))?,
                );
            }
            rows += 1;
        }
        if names.is_empty() || rows < names.len() {
            let got = if names.is_empty() {
                "no line with the names of sites".to_owned()
            } else {
                format!("{rows} rows")
            };
            let expected = if names.is_empty() {
                "the names of the sites first".to_owned()
            } else {
                format!("{}, one for each column", names.len())
            };
            return Err(WrongCell { line: last_line, column: 1, got, expected });
        }
        Ok(Self { sites: names.len(), cells })
    }
}

/// Words of a line, and the column at which each begins, from 1.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split_whitespace().map(move |word| {
        // A word is a part of its line, so the difference of their addresses is its place.
        let place = word.as_ptr() as usize - line.as_ptr() as usize;
        (line[..place].chars().count() + 1, word)
    })
}

/// A cell: milliseconds, a time with a unit, or a distribution.
fn cell(word: &str) -> Result<Delay, Wrong> {
    let is_number = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let delay: Delay = if is_number { format!("{word}ms").parse() } else { word.parse() }?;
    match delay {
        Delay::Matrix(_) => Err(Wrong::new(word, "a time or a distribution, not another matrix")),
        delay => Ok(delay),
    }
}

fn whole_us(us: f64) -> u64 {
    // Saturates; NaN cannot come out of positive finite numbers.
    libm::round(us) as u64
}

/// Uniform above 0 and up to 1.
fn unit_above_0(dice: &mut Dice) -> f64 {
    ((dice.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// Exponential with mean 1, for pauses between arrivals.
pub fn exponential(dice: &mut Dice) -> f64 {
    -libm::log(unit_above_0(dice))
}

/// Standard normal (Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958; the second one of each
/// pair is not used, so that a draw depends on nothing before it).
fn normal(dice: &mut Dice) -> f64 {
    let radius = libm::sqrt(2.0 * exponential(dice));
    radius * libm::cos(std::f64::consts::TAU * unit_above_0(dice))
}
