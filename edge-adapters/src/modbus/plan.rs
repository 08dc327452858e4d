//! Which requests read which fields. Pure.
//!
//! Fields of one table that lie near one another are read together. Among the plans that the caps allow, the one
//! with the fewest bytes on the wire is taken, by dynamic programming over the fields in order of address; of plans
//! with equally many bytes, one with the fewest requests. What a request costs besides its data depends on the
//! [`Framing`].

use super::Table;

/// Bytes of a request (function, start, count) and of an answer around its data (function, count of bytes), without
/// what frames them.
const BODY_BYTES: u64 = 5 + 2;

/// What is put around a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP: a header of 7 bytes. What TCP and IP add is not counted: it depends on the network.
    Tcp,
    /// The same in a record of TLS 1.3 each way: header, kind, authentication tag.
    Tls,
    /// RTU: unit, check sum.
    Rtu,
}

impl Framing {
    /// Bytes of a request and its answer besides the data.
    const fn overhead_bytes(self) -> u64 {
        BODY_BYTES
            + match self {
                Self::Tcp => 2 * 7,
                Self::Tls => 2 * (7 + 5 + 1 + 16),
                Self::Rtu => 2 * 3,
            }
    }
}

/// How requests may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Registers in a request.
    pub registers: u16,
    /// Bits in a request.
    pub bits: u16,
    /// Registers or bits in a row that are read although no field is there.
    pub gap: u16,
    /// Never read two places with one request, for devices that cannot.
    pub each_alone: bool,
    /// What a request costs.
    pub framing: Framing,
}

impl Caps {
    const fn most(self, table: Table) -> u16 {
        if table.is_bits() { self.bits } else { self.registers }
    }
}

/// Registers or bits in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Of which table.
    pub table: Table,
    /// The first.
    pub start: u16,
    /// How many.
    pub count: u16,
}

impl Span {
    const fn end(self) -> u32 {
        self.start as u32 + self.count as u32
    }
    /// Bytes of data that an answer carries for it.
    pub const fn data_bytes(self) -> u64 {
        if self.table.is_bits() { self.count.div_ceil(8) as u64 } else { self.count as u64 * 2 }
    }
    /// Bytes on the wire, request and answer together.
    pub const fn wire_bytes(self, framing: Framing) -> u64 {
        framing.overhead_bytes() + self.data_bytes()
    }
}

/// One request and the fields that its answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub span: Span,
    /// The fields, as indices into the fields of the plan.
    pub fields: Vec<usize>,
}

/// Requests that read all `fields`, each exactly once.
///
/// # Panics
/// When a field alone is larger than a request may be; the check of the configuration refuses such fields.
pub fn plan(fields: &[Span], caps: Caps) -> Vec<Request> {
    let all: Vec<usize> = (0..fields.len()).collect();
    plan_some(fields, &all, caps)
}

/// The same for some of the fields, by their indices.
///
/// # Panics
/// As [`plan`].
pub fn plan_some(fields: &[Span], which: &[usize], caps: Caps) -> Vec<Request> {
    if caps.each_alone {
        return each_place(fields, which);
    }
    let mut which = which.to_vec();
    which.sort_by_key(|index| (fields[*index], *index));
    // Many fields in one place (the bits of a register) are one to the planner.
    let places: Vec<&[usize]> = which.chunk_by(|a, b| fields[*a] == fields[*b]).collect();
    let spans: Vec<Span> = places.iter().map(|place| fields[place[0]]).collect();
    cheapest_groups(&spans, caps)
        .into_iter()
        .map(|(from, to)| Request { span: hull(&spans[from..to]), fields: places[from..to].concat() })
        .collect()
}

/// Spans in ascending order as groups `from .. to`, each to be read with one request.
fn cheapest_groups(spans: &[Span], caps: Caps) -> Vec<(usize, usize)> {
    // best[n]: least bytes and requests for the first n spans, and where the last group of them begins.
    let mut best: Vec<(u64, u32, usize)> = vec![(u64::MAX, 0, 0); spans.len() + 1];
    best[0] = (0, 0, 0);
    for from in 0..spans.len() {
        let first = spans[from];
        assert!(first.count <= caps.most(first.table), "the check of the configuration refuses wider fields");
        let (bytes, requests, _) = best[from];
        let mut end = first.end();
        for (to, span) in spans.iter().enumerate().skip(from) {
            let gap = u32::from(span.start).saturating_sub(end);
            end = end.max(span.end());
            let count = end - u32::from(first.start);
            if span.table != first.table
                || gap > u32::from(caps.gap)
                || count > u32::from(caps.most(first.table))
            {
                break;
            }
            let group = Span { count: count as u16, ..first };
            let candidate = (bytes + group.wire_bytes(caps.framing), requests + 1, from);
            if candidate < best[to + 1] {
                best[to + 1] = candidate;
            }
        }
    }
    let mut groups = Vec::new();
    let mut to = spans.len();
    while to > 0 {
        let from = best[to].2;
        groups.push((from, to));
        to = from;
    }
    groups.reverse();
    groups
}

fn hull(spans: &[Span]) -> Span {
    let end = spans.iter().map(|span| span.end()).max().unwrap_or(0);
    Span { count: (end - u32::from(spans[0].start)) as u16, ..spans[0] }
}

/// A refused request in smaller ones, so that one bad address does not cost its neighbours their values: without
/// gaps if it had some, else in two halves, until each place stands alone. So of many values in a row, one of them bad, all
/// others are read with a few requests, and a device that takes fewer registers at once than it was asked for is asked for
/// fewer. `None` when it cannot be divided.
pub fn split(request: &Request, fields: &[Span], caps: Caps) -> Option<Vec<Request>> {
    let parts = without_gaps(request, fields, caps);
    if parts.is_some() {
        return parts;
    }
    let places = each_place(fields, &request.fields);
    let (first, second) = places.split_at(places.len() / 2);
    (!first.is_empty()).then(|| [first, second].map(joined).into())
}

/// A refused request as several, each without a place that nobody asked for. `None` when it is that already.
pub fn without_gaps(request: &Request, fields: &[Span], caps: Caps) -> Option<Vec<Request>> {
    let parts = plan_some(fields, &request.fields, Caps { gap: 0, ..caps });
    (parts.len() > 1).then_some(parts)
}

/// Places beside one another in one request.
fn joined(places: &[Request]) -> Request {
    let spans: Vec<Span> = places.iter().map(|place| place.span).collect();
    let fields = places.iter().flat_map(|place| place.fields.iter().copied()).collect();
    Request { span: hull(&spans), fields }
}

/// One request for each place; fields in one place (the bits of a register) share it.
fn each_place(fields: &[Span], which: &[usize]) -> Vec<Request> {
    let mut which = which.to_vec();
    which.sort_by_key(|index| (fields[*index], *index));
    which
        .chunk_by(|a, b| fields[*a] == fields[*b])
        .map(|place| Request { span: fields[place[0]], fields: place.to_vec() })
        .collect()
}
