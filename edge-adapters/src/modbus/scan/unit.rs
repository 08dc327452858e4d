//! What one unit has.

use std::time::Duration;

use tokio::time::sleep;
use tokio_modbus::prelude::ReadCode;
use tokio_modbus::{Request, Response};

use super::super::plan::Span;
use super::super::sunspec::chain::{HEAD, Link, Next, Walk};
use super::super::sunspec::decode::{Model, decode};
use super::super::sunspec::{BASES, COMMON};
use super::super::{REGISTERS_MAX, Table};
use super::ask::{Asker, Heard, Unreachable};
use super::ranges::{Said, find};
use super::{Answering, SunSpec, Unit};

/// Fewer and fewer registers in a request, for devices that refuse many.
const REQUEST_SIZES: [u16; 5] = [REGISTERS_MAX, 64, 32, 16, 8];
/// The code by which a device refuses an address, or a count (Modbus Application Protocol V1.1b3, section 7).
const ILLEGAL: [u8; 2] = [2, 3];
/// It has something else to do (acknowledge, server busy), so it is asked again, a few times.
const BUSY: [u8; 2] = [5, 6];
const BUSY_TIMES: u32 = 4;
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// It has no such function.
const ILLEGAL_FUNCTION: u8 = 1;
/// Objects of function 43/14 that have a name (section 6.21); others are numbered.
const OBJECTS: [&str; 7] = [
    "VendorName",
    "ProductCode",
    "MajorMinorRevision",
    "VendorUrl",
    "ProductName",
    "ModelName",
    "UserApplicationName",
];
/// Most questions for the identification of one unit: its objects may come in several answers.
const IDENTIFICATION_QUESTIONS_MAX: usize = 8;

/// Asks one unit for everything.
pub(super) async fn scan(
    asker: &mut Asker,
    unit_id: u8,
    progress: &impl Fn(&str),
) -> Result<Unit, Unreachable> {
    let mut unit = Unit {
        unit_id,
        answer: Answering::Yes,
        identification: Vec::new(),
        sunspec: None,
        readable: Vec::new(),
    };
    let mut reader = Reader { asker: &mut *asker, unit_id, size: 0 };
    if let Err(why) = reader.answers().await? {
        progress(&format!("unit {unit_id}: {why}"));
        unit.answer = Answering::No(why);
        return Ok(unit);
    }
    let mut base = None;
    for start in BASES {
        if let Heard::Answer(words) = reader.once(holding(start, 2)).await?
            && let Some(walk) = Walk::start(start, &words)
        {
            base = Some((start, walk));
            break;
        }
    }
    if let Some((base, walk)) = base {
        progress(&format!("unit {unit_id}: SunSpec at holding register {base}"));
        unit.sunspec = Some(reader.sunspec(base, walk, progress).await?);
    } else {
        progress(&format!("unit {unit_id}: answers, without SunSpec; looking for what can be read"));
        unit.readable = readable(reader.asker, unit_id).await?;
    }
    unit.identification = identification(asker, unit_id).await?;
    Ok(unit)
}

fn why_not<T>(heard: &Heard<T>) -> String {
    match heard {
        Heard::Silence => "no answer in time".to_owned(),
        Heard::Nonsense(why) => format!("no answer: {why}"),
        Heard::Refused(10) => "no answer: the gateway has no path to it (exception 10)".to_owned(),
        Heard::Refused(11) => "no answer: it does not answer the gateway (exception 11)".to_owned(),
        Heard::Refused(code) => format!("exception {code}"),
        Heard::Answer(_) => "an answer".to_owned(),
    }
}

const fn holding(start: u16, count: u16) -> Span {
    Span { table: Table::Holding, start, count }
}

/// Do both have the same serial number and models? Many devices answer under every unit id.
pub(super) fn is_same_device(known: &Unit, other: &Unit) -> bool {
    let identity = |unit: &Unit| {
        let sunspec = unit.sunspec.as_ref()?;
        let common = sunspec.models.iter().find(|model| model.link.id == COMMON)?;
        let serial = common.points.iter().find(|point| point.path == "SN" && point.is_implemented())?;
        let links: Vec<Link> = sunspec.models.iter().map(|model| model.link).collect();
        Some((serial.registers.clone(), links))
    };
    known.answer == Answering::Yes && identity(known).is_some_and(|known| identity(other) == Some(known))
}

struct Reader<'a> {
    asker: &'a mut Asker,
    unit_id: u8,
    /// Which of [`REQUEST_SIZES`] the device takes.
    size: usize,
}

impl Reader<'_> {
    /// Does the unit answer at all? The inner error says why not.
    ///
    /// Asked in two places, since some devices say nothing where they have nothing.
    async fn answers(&mut self) -> Result<Result<(), String>, Unreachable> {
        let heard = self.once(holding(BASES[0], 2)).await?;
        let heard = match heard {
            Heard::Silence | Heard::Nonsense(_) => self.once(holding(0, 1)).await?,
            heard => heard,
        };
        Ok(if heard.is_from_unit() { Ok(()) } else { Err(why_not(&heard)) })
    }

    async fn sunspec(
        &mut self,
        base: u16,
        mut walk: Walk,
        progress: &impl Fn(&str),
    ) -> Result<SunSpec, Unreachable> {
        let mut models: Vec<Model> = Vec::new();
        while let Next::Head(address) = *walk.next() {
            self.head(&mut walk, address).await?;
            if let Some(link) = walk.links().get(models.len()).copied() {
                progress(&format!(
                    "unit {}: model {} of {} registers at {}",
                    self.unit_id, link.id, link.length, link.address
                ));
                let registers = self.many(link.address.wrapping_add(HEAD), link.length).await?;
                models.push(decode(link, &registers));
            }
        }
        let broken = if let Next::Broken(why) = walk.next() { Some(why.clone()) } else { None };
        Ok(SunSpec { base, models, broken, max_registers: REQUEST_SIZES[self.size] })
    }

    /// The next model's head. Some devices end with an id alone, and refuse to read beyond it.
    async fn head(&mut self, walk: &mut Walk, address: u16) -> Result<(), Unreachable> {
        let count = if address == u16::MAX { 1 } else { HEAD };
        let mut heard = self.patiently(holding(address, count)).await?;
        if count == HEAD && matches!(heard, Heard::Refused(_)) {
            heard = self.patiently(holding(address, 1)).await?;
        }
        match heard {
            Heard::Answer(words) => walk.head(words[0], words.get(1).copied()),
            other => walk.unreadable(&why_not(&other)),
        }
        Ok(())
    }

    /// All registers from `start` on, or as many as can be read.
    async fn many(&mut self, start: u16, count: u16) -> Result<Vec<u16>, Unreachable> {
        let mut registers = Vec::with_capacity(count.into());
        while registers.len() < usize::from(count) {
            let done = registers.len() as u16;
            let size = (count - done).min(REQUEST_SIZES[self.size]);
            match self.patiently(holding(start + done, size)).await? {
                Heard::Answer(words) => registers.extend(words),
                Heard::Refused(code) if ILLEGAL.contains(&code) && self.smaller_than(size) => {}
                _ => break,
            }
        }
        Ok(registers)
    }

    /// Goes on with requests that are smaller than this, if there are any.
    fn smaller_than(&mut self, size: u16) -> bool {
        let Some(next) = REQUEST_SIZES.iter().position(|known| *known < size) else { return false };
        self.size = next;
        true
    }

    /// Asks a second time when there was no answer: on a serial line a word gets lost.
    async fn patiently(&mut self, span: Span) -> Result<Heard<Vec<u16>>, Unreachable> {
        match self.once(span).await? {
            Heard::Silence | Heard::Nonsense(_) => self.once(span).await,
            heard => Ok(heard),
        }
    }

    /// Asks once, and again only of a unit that says that it is busy.
    async fn once(&mut self, span: Span) -> Result<Heard<Vec<u16>>, Unreachable> {
        let mut heard = self.asker.registers(self.unit_id, span).await?;
        for _ in 0..BUSY_TIMES {
            if !matches!(heard, Heard::Refused(code) if BUSY.contains(&code)) {
                break;
            }
            sleep(BUSY_PAUSE).await;
            heard = self.asker.registers(self.unit_id, span).await?;
        }
        Ok(heard)
    }
}

/// What can be read of the four tables.
async fn readable(asker: &mut Asker, unit_id: u8) -> Result<Vec<super::Readable>, Unreachable> {
    let mut found = Vec::new();
    for table in [Table::Holding, Table::Input, Table::Coil, Table::Discrete] {
        let read = async |span| {
            Ok(match asker.can_read(unit_id, span).await? {
                Heard::Answer(()) => Said::Yes,
                Heard::Refused(ILLEGAL_FUNCTION) | Heard::Silence | Heard::Nonsense(_) => Said::Never,
                Heard::Refused(_) => Said::No,
            })
        };
        found.extend(find(table, read).await?);
    }
    Ok(found)
}

/// What the unit says of itself; nothing if it does not know the question.
async fn identification(asker: &mut Asker, unit_id: u8) -> Result<Vec<(String, String)>, Unreachable> {
    let mut objects = Vec::new();
    let mut next = 0;
    for _ in 0..IDENTIFICATION_QUESTIONS_MAX {
        let request = Request::ReadDeviceIdentification(ReadCode::Regular, next);
        let Heard::Answer(Response::ReadDeviceIdentification(told)) = asker.ask(unit_id, request).await?
        else {
            break;
        };
        for object in told.device_id_objects {
            let name = OBJECTS
                .get(usize::from(object.id))
                .map_or_else(|| format!("Object{}", object.id), |name| (*name).to_owned());
            objects.push((name, String::from_utf8_lossy(&object.value).trim().to_owned()));
        }
        // A device that begins again would go on for ever.
        if !told.more_follows || told.next_object_id <= next {
            break;
        }
        next = told.next_object_id;
    }
    objects.retain(|(_, value)| !value.is_empty());
    Ok(objects)
}
