//! A model's registers and its definition to points with values.
//!
//! Work is bounded by the registers, whatever they hold: each point takes at least one of them, a group that took none
//! is not begun again, and nothing is looked for beyond the model's own length.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use selvedge_core::reading::Value;
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::chain::{HEAD, Link};
use super::definition::{self, Count, Factor, Group};
use super::kind::PointKind;
use super::unit::ucum;
use crate::mapping::{Decoded, Encoding, Order, Scaled, decode_registers, scaled};

/// Powers of ten that a scale factor may be (section 4.2.8).
const FACTORS: RangeInclusive<i16> = -10..=10;

/// A model as it lies on the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Where it is.
    pub link: Link,
    /// Its definition's name and label; `None` if the model is not known.
    pub known: Option<(&'static str, &'static str)>,
    /// Its points without padding, in order.
    pub points: Vec<Point>,
    /// What does not fit together, in words.
    pub notes: Vec<String>,
    /// Registers that belong to no known point: the first one's address, and all of them. With an unknown model these
    /// are all after its head.
    pub rest: Option<(u16, Vec<u16>)>,
}

/// A point as it lies on the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its name, with the groups around it, numbered from 1 where they repeat: `Crv/2/Pt/1/V`.
    pub path: String,
    /// Its name for people; may be empty.
    pub label: &'static str,
    /// Its type.
    pub kind: PointKind,
    /// Its first register.
    pub address: u16,
    /// Its registers.
    pub registers: Vec<u16>,
    /// How its number is scaled.
    pub scale: Scale,
    /// Its unit as SunSpec writes it; may be empty.
    pub unit: &'static str,
    /// Does it never change?
    pub is_static: bool,
    /// What its numbers or bits mean.
    pub symbols: Vec<(u32, &'static str)>,
}

/// How a point's number is scaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale {
    /// Not at all.
    None,
    /// By this power of ten, which the point of this name said (none if the definition fixes it).
    Power(i8, Option<&'static str>),
    /// By one that cannot be known: the point of this name is missing, not implemented, or no possible power of ten.
    Unknown(String),
}

impl Point {
    /// How a stream reads it; `None` if it cannot.
    pub fn encoding(&self) -> Option<Encoding> {
        let (kind, not_available) = (self.kind.stream_kind()?, self.kind.not_implemented().to_vec());
        Some(Encoding { kind, order: Order::default(), not_available, bit: None })
    }

    /// What its registers said, by the very decoder that a stream uses; `None` if no stream can read it.
    pub fn decoded(&self) -> Option<Decoded> {
        Some(decode_registers(&self.encoding()?, &self.registers))
    }

    /// By what its number is multiplied; 1 where that cannot be known.
    ///
    /// # Panics
    /// Never: a scale factor is -10 to 10.
    pub fn factor(&self) -> Decimal {
        let Scale::Power(power, _) = self.scale else { return Decimal::ONE };
        Decimal::new(1, power.into()).expect("scale factors are -10 to 10, far within a decimal's range")
    }

    /// Its unit as UCUM text, empty for a pure number. `None` where it has one that UCUM has not, and where its scale is
    /// not known: then nobody knows how many of them it is.
    pub fn ucum(&self) -> Option<&'static str> {
        match self.scale {
            Scale::Unknown(_) => self.unit.is_empty().then_some(""),
            // Its number is a power of ten, whatever the definition says.
            _ if self.kind == PointKind::Sunssf => Some(""),
            _ => ucum(self.unit),
        }
    }

    /// What its registers said, scaled.
    pub fn value(&self) -> Scaled {
        let Some((decoded, encoding)) = self.decoded().zip(self.encoding()) else { return Scaled::None };
        let descriptor = Descriptor {
            name: String::new(),
            device: String::new(),
            address: String::new(),
            // How many digits a float has depends on it.
            source_type: encoding.kind.to_string(),
            unit: String::new(),
            scale: self.factor(),
            offset: Decimal::ZERO,
            attestation: Attestation::Gateway,
        };
        scaled(&decoded.value, &descriptor)
    }

    /// Does the device have it, by its own word?
    pub fn is_implemented(&self) -> bool {
        match self.decoded().map(|decoded| decoded.value) {
            None => self.registers.iter().any(|register| *register != 0),
            Some(value) => value != Value::None,
        }
    }
}

/// The model at `link`, from the registers after its head: `link.length` of them, or fewer if not all could be read.
pub fn decode(link: Link, registers: &[u16]) -> Model {
    let registers = &registers[..registers.len().min(usize::from(link.length))];
    let mut notes = Vec::new();
    if registers.len() < usize::from(link.length) {
        notes.push(format!("only {} of its {} registers were read", registers.len(), link.length));
    }
    let Some(definition) = definition::definition(link.id) else {
        let rest = (!registers.is_empty()).then(|| (body(link), registers.to_vec()));
        return Model { link, known: None, points: Vec::new(), notes, rest };
    };
    let mut placing = Placing { link, registers, at: 0, placed: Vec::new(), scopes: Vec::new(), notes };
    placing.group(&definition, "", None);
    let at = placing.at;
    let (points, notes) = placing.finish();
    let rest = (at < registers.len()).then(|| (body(link) + at as u16, registers[at..].to_vec()));
    Model { link, known: Some((definition.name, definition.label)), points, notes, rest }
}

/// The first register after the head. The walk made sure that it exists when there is any.
const fn body(link: Link) -> u16 {
    link.address.wrapping_add(HEAD)
}

/// One occurrence of a group: what its small points say, for the counts and scale factors of those in it.
struct Scope {
    around: Option<usize>,
    words: BTreeMap<&'static str, u16>,
}

struct Placing<'a> {
    link: Link,
    registers: &'a [u16],
    /// The next register.
    at: usize,
    /// Each point, where its scale factor is looked for, and which that is: it may come after the point.
    placed: Vec<(Point, usize, Factor)>,
    scopes: Vec<Scope>,
    notes: Vec<String>,
}

/// The model's registers have ended before its definition.
struct Ended;

impl Placing<'_> {
    /// The whole model.
    fn group(&mut self, definition: &Group, path: &str, around: Option<usize>) {
        if self.occurrence(definition, path, around).is_err() {
            // Older devices leave out points that a definition has got since, so this alone is no mistake.
            self.notes.push(format!("its length of {} ends within its definition", self.link.length));
        }
    }

    fn occurrence(&mut self, definition: &Group, path: &str, around: Option<usize>) -> Result<(), Ended> {
        let scope = self.scopes.len();
        self.scopes.push(Scope { around, words: BTreeMap::new() });
        for point in &definition.points {
            self.point(point, path, scope)?;
        }
        for inner in &definition.groups {
            let path = if path.is_empty() { inner.name.to_owned() } else { format!("{path}/{}", inner.name) };
            if inner.count == Count::Once {
                self.occurrence(inner, &path, Some(scope))?;
                continue;
            }
            let count = self.count(inner, scope);
            for number in 1..=count {
                let before = self.at;
                self.occurrence(inner, &format!("{path}/{number}"), Some(scope))?;
                if self.at == before {
                    break;
                }
            }
        }
        Ok(())
    }

    fn point(&mut self, definition: &definition::Point, path: &str, scope: usize) -> Result<(), Ended> {
        let kind = definition.kind;
        let end = self.at + usize::from(kind.registers());
        let Some(registers) = self.registers.get(self.at..end) else {
            // Padding at the end of a model is often not there: model 1 has 66 registers, or 65.
            return if kind == PointKind::Pad { Ok(()) } else { Err(Ended) };
        };
        let address = body(self.link) + self.at as u16;
        self.at = end;
        if let [word] = registers {
            self.scopes[scope].words.insert(definition.name, *word);
        }
        if kind == PointKind::Pad {
            return Ok(());
        }
        let name = definition.name;
        let point = Point {
            path: if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") },
            label: definition.label,
            kind,
            address,
            registers: registers.to_vec(),
            scale: Scale::None,
            unit: definition.unit,
            is_static: definition.is_static,
            symbols: definition.symbols.clone(),
        };
        self.placed.push((point, scope, definition.factor));
        Ok(())
    }

    /// How often a group comes.
    fn count(&mut self, group: &Group, scope: usize) -> usize {
        let left = self.registers.len() - self.at;
        match group.count {
            Count::Once => 1,
            Count::ToTheEnd => left / smallest(group).max(1),
            Count::Point(name) => match self.look_up(scope, name) {
                Some(0xFFFF) | None => 0,
                Some(count) => {
                    if usize::from(count) * smallest(group) > left {
                        self.notes.push(format!("{name} says {count} of {}, which do not fit", group.name));
                    }
                    usize::from(count)
                }
            },
        }
    }

    /// What this point says, in this group or the nearest around it.
    fn look_up(&self, scope: usize, name: &str) -> Option<u16> {
        let mut scope = Some(scope);
        while let Some(at) = scope {
            if let Some(word) = self.scopes[at].words.get(name) {
                return Some(*word);
            }
            scope = self.scopes[at].around;
        }
        None
    }

    /// The points with their scales.
    fn finish(mut self) -> (Vec<Point>, Vec<String>) {
        let mut points = Vec::with_capacity(self.placed.len());
        for (mut point, scope, factor) in std::mem::take(&mut self.placed) {
            point.scale = match factor {
                Factor::None => Scale::None,
                Factor::Fixed(power) => Scale::Power(power, None),
                Factor::Point(name) => match self.look_up(scope, name).map(|word| word as i16) {
                    Some(power) if FACTORS.contains(&power) => Scale::Power(power as i8, Some(name)),
                    Some(i16::MIN) => Scale::Unknown(format!("{name} is not implemented")),
                    Some(power) => {
                        Scale::Unknown(format!("{name} says {power}, which is not within -10 to 10"))
                    }
                    None => Scale::Unknown(format!("{name} is missing")),
                },
            };
            points.push(point);
        }
        (points, self.notes)
    }
}

/// Registers that one occurrence takes at least.
fn smallest(group: &Group) -> usize {
    let points: usize = group.points.iter().map(|point| usize::from(point.kind.registers())).sum();
    points + group.groups.iter().filter(|inner| inner.count == Count::Once).map(smallest).sum::<usize>()
}
