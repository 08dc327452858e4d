//! A value into registers, the way back of [`decode_registers`](crate::mapping::decode_registers). Pure.

use selvedge_core::reading::Value;

use super::ask::Ask;
use super::{Field, Table};
use crate::mapping::{Encoding, Kind};
use crate::write::desk::json;
use crate::write::takes::Takes;

/// Can values of this kind be written at all? A bit or a byte of a register cannot: its neighbours in the register would
/// be written too, with values that nobody asked for.
pub const fn is_writable(table: Table, encoding: &Encoding) -> bool {
    match table {
        Table::Coil => true,
        Table::Discrete | Table::Input => false,
        Table::Holding => {
            encoding.bit.is_none() && !matches!(encoding.kind, Kind::Bit(_) | Kind::I8 | Kind::U8)
        }
    }
}

/// What values of this kind are, where they can be written.
pub(crate) const fn takes(kind: Kind) -> Takes {
    match kind {
        Kind::Bit(_) | Kind::Bool => Takes::Flag,
        Kind::Text(bytes) => Takes::Text { most: bytes as usize },
        Kind::I8 => Takes::whole(8, true),
        Kind::U8 => Takes::whole(8, false),
        Kind::I16 => Takes::whole(16, true),
        Kind::U16 => Takes::whole(16, false),
        Kind::I32 => Takes::whole(32, true),
        Kind::U32 => Takes::whole(32, false),
        Kind::I64 => Takes::whole(64, true),
        Kind::U64 => Takes::whole(64, false),
        Kind::F32 => Takes::Number { most: f32::MAX as f64 },
        Kind::F64 => Takes::Number { most: f64::MAX },
    }
}

/// What to ask of a device so that it holds this value.
///
/// # Errors
/// Why not, in words.
pub(crate) fn ask(field: &Field, value: &Value) -> Result<Ask, String> {
    let (at, many) = (field.address, field.write_as_many);
    if !is_writable(field.table, &field.encoding) {
        return Err(format!("a {} of type {} cannot be written", field.table.name(), field.encoding.kind));
    }
    if field.table.is_bits() {
        let Value::Bool(bit) = value else { return Err(unfit(value, Kind::Bool)) };
        return Ok(if many { Ask::Coils(at, vec![*bit]) } else { Ask::Coil(at, *bit) });
    }
    let words = encode_registers(&field.encoding, value)?;
    Ok(match words.as_slice() {
        [word] if !many => Ask::Register(at, *word),
        _ => Ask::Registers(at, words),
    })
}

/// The registers that hold this value.
///
/// # Errors
/// Why there are none, in words: the value does not fit, or means "not available" there.
pub fn encode_registers(encoding: &Encoding, value: &Value) -> Result<Vec<u16>, String> {
    let Encoding { kind, order, not_available, bit } = encoding;
    if bit.is_some() {
        return Err("a bit of a number cannot be written alone".to_owned());
    }
    if let Kind::Text(bytes) = kind {
        let Value::Text(text) = value else { return Err(unfit(value, *kind)) };
        if text.len() > usize::from(*bytes) {
            return Err(format!("{} bytes of text do not fit into {bytes}, so nothing was sent", text.len()));
        }
        let mut all = text.clone().into_bytes();
        all.resize(usize::from(kind.registers()) * 2, 0);
        let word = |pair: &[u8]| {
            let word = u16::from_be_bytes([pair[0], pair[1]]);
            if order.bytes_swapped { word.swap_bytes() } else { word }
        };
        return Ok(all.chunks(2).map(word).collect());
    }
    let raw = bits(*kind, value).ok_or_else(|| unfit(value, *kind))?;
    if not_available.contains(&raw) {
        return Err(format!("{} means \"not available\" there, so nothing was sent", json(value)));
    }
    let count = u32::from(kind.registers());
    let word = |place: u32| {
        let word = (raw >> (16 * place)) as u16;
        if order.bytes_swapped { word.swap_bytes() } else { word }
    };
    Ok(if order.words_reversed {
        (0..count).map(word).collect()
    } else {
        (0..count).rev().map(word).collect()
    })
}

/// The bits of a number, in the width of its kind; `None` when it does not fit.
fn bits(kind: Kind, value: &Value) -> Option<u64> {
    let width = kind.number_bits().unwrap_or(16);
    let mask = u64::MAX >> (64 - width);
    let integer = |value: &Value| match value {
        Value::Int(int) => Some(i128::from(*int)),
        Value::Unsigned(int) => Some(i128::from(*int)),
        _ => None,
    };
    match kind {
        Kind::Bool => match value {
            Value::Bool(bit) => Some(u64::from(*bit)),
            _ => None,
        },
        Kind::I16 | Kind::I32 | Kind::I64 => {
            let half = 1_i128 << (width - 1);
            integer(value).filter(|int| (-half..half).contains(int)).map(|int| int as u64 & mask)
        }
        Kind::U16 | Kind::U32 | Kind::U64 => {
            integer(value).filter(|int| (0..=i128::from(mask)).contains(int)).map(|int| int as u64)
        }
        Kind::F32 => {
            let float = float(value)?;
            let single = float as f32;
            // A finite number that a single cannot hold would become an infinity.
            (single.is_finite()).then(|| u64::from(single.to_bits()))
        }
        Kind::F64 => float(value).filter(|float| float.is_finite()).map(f64::to_bits),
        Kind::Bit(_) | Kind::I8 | Kind::U8 | Kind::Text(_) => None,
    }
}

/// As a float; of integers only those that a float holds exactly.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) => Some(*float),
        Value::Int(int) => Some(*int as f64).filter(|float| *float as i128 == i128::from(*int)),
        Value::Unsigned(int) => Some(*int as f64).filter(|float| *float as i128 == i128::from(*int)),
        _ => None,
    }
}

fn unfit(value: &Value, kind: Kind) -> String {
    format!("{} is nothing that a {kind} holds; it takes {}; nothing was sent", json(value), takes(kind))
}
