//! What the known models hold. The table is text, read when somebody scans; its form is described in
//! `edge-adapters/sunspec/README.md`.

use super::kind::PointKind;

const TABLE: &str = include_str!("models.txt");

/// A group of points, and groups in it. A model is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name: `inverter_three_phase`, `curve`.
    pub name: &'static str,
    /// How often it comes.
    pub count: Count,
    /// Its name for people; may be empty.
    pub label: &'static str,
    /// Its points, in order, before its groups.
    pub points: Vec<Point>,
    /// The groups in it, in order.
    pub groups: Vec<Self>,
}

/// How often a group comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Once, without a number.
    Once,
    /// As often as the model's length has room for it.
    ToTheEnd,
    /// As often as this point says, which stands in the group around it or further out.
    Point(&'static str),
}

/// A point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Its name: `PhVphA`.
    pub name: &'static str,
    /// Its type.
    pub kind: PointKind,
    /// Its scale factor.
    pub factor: Factor,
    /// Its unit as SunSpec writes it; may be empty.
    pub unit: &'static str,
    /// Does it never change?
    pub is_static: bool,
    /// Its name for people; empty if it is the same.
    pub label: &'static str,
    /// What its numbers or bits mean.
    pub symbols: Vec<(u32, &'static str)>,
}

/// Where a scale factor comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// There is none.
    None,
    /// The definition says it: this power of ten.
    Fixed(i8),
    /// This point of the device says it.
    Point(&'static str),
}

/// The definition of a model, without the points `ID` and `L` of its head. `None` if it is not known.
pub fn definition(id: u16) -> Option<Group> {
    let mut lines = TABLE.lines().skip_while(|line| {
        let mut cells = line.split('\t');
        cells.next() != Some("=") || cells.next().and_then(|cell| cell.parse().ok()) != Some(id)
    });
    let mut cells = lines.next()?.split('\t').skip(2);
    let (name, label) = (cells.next()?, cells.next().unwrap_or_default());
    let (points, groups) = content(&mut lines)?;
    Some(Group { name, count: Count::Once, label, points, groups })
}

/// The ids of all known models, ascending.
pub fn known() -> impl Iterator<Item = u16> {
    TABLE.lines().filter_map(|line| line.strip_prefix("=\t")?.split('\t').next()?.parse().ok())
}

/// Points and groups up to the end of this group or model. `None` if a line is wrong, which a test excludes.
fn content(lines: &mut impl Iterator<Item = &'static str>) -> Option<(Vec<Point>, Vec<Group>)> {
    let (mut points, mut groups) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next() {
        let mut cells = line.split('\t');
        match cells.next()? {
            "}" | "=" => break,
            "{" => {
                let (name, count) = (cells.next()?, cells.next()?);
                let label = cells.next().unwrap_or_default();
                let (points, groups_in_it) = content(lines)?;
                let count = match count {
                    "1" => Count::Once,
                    "0" => Count::ToTheEnd,
                    name => Count::Point(name),
                };
                groups.push(Group { name, count, label, points, groups: groups_in_it });
            }
            name => points.push(point(name, cells)?),
        }
    }
    Some((points, groups))
}

fn point(name: &'static str, mut cells: impl Iterator<Item = &'static str>) -> Option<Point> {
    let kind = PointKind::parse(cells.next()?)?;
    let mut cell = || cells.next().unwrap_or_default();
    let factor = match cell() {
        "" => Factor::None,
        text => text.parse().map_or(Factor::Point(text), Factor::Fixed),
    };
    let (unit, is_static, label, symbols) = (cell(), cell() == "s", cell(), cell());
    let symbols = symbols
        .split(';')
        .filter(|symbol| !symbol.is_empty())
        .map(|symbol| {
            let (value, name) = symbol.split_once('=')?;
            Some((value.parse().ok()?, name))
        })
        .collect::<Option<_>>()?;
    Some(Point { name, kind, factor, unit, is_static, label, symbols })
}
