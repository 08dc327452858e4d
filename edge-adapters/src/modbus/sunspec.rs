//! SunSpec: registers of inverters, meters and batteries that say what they are. Pure.
//!
//! A SunSpec device holds, in its holding registers at 40000, 50000 or 0, the four bytes `SunS` and after them a chain
//! of models: id, length, as many registers, the next model, to an id of 0xFFFF (SunSpec Device Information Model
//! Specification 1.2, section 6). What a model's registers mean is fixed by its definition; scale factors stand in
//! registers of their own.
//!
//! | file | what is in it |
//! |---|---|
//! | `chain.rs` | the walk from model to model |
//! | `definition.rs`, `models.txt` | what the 112 known models hold (`edge-adapters/sunspec/README.md` says how it was made) |
//! | `kind.rs` | the types of points: their registers, their marks for "not implemented" |
//! | `decode.rs` | a model's registers and its definition to points with values |
//! | `unit.rs` | SunSpec's units to UCUM |

pub mod chain;
pub mod decode;
pub mod definition;
pub mod kind;
pub mod unit;

/// Where a chain may begin, in the order in which devices use it.
pub const BASES: [u16; 3] = [40_000, 50_000, 0];

/// `SunS`, with which a chain begins.
pub const MARK: [u16; 2] = [0x5375, 0x6E53];

/// The id that ends a chain.
pub const END: u16 = 0xFFFF;

/// The model with which each chain begins: who made the device.
pub const COMMON: u16 = 1;
