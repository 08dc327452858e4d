//! The file `identity`: whose data folder this is. Written before anything else.

use selvedge_core::hash::{Issuer, NetworkId};

use super::disk::Disk;
use super::error::{StoreError, io_error};

const FILE: &str = "identity";
const TEMPORARY: &str = "identity.tmp";
const MAGIC: [u8; 8] = *b"selvedge";
/// Magic, version as u32, network, issuer, CRC32C over all before.
const BYTES: usize = 8 + 4 + 32 + 32 + 4;
const VERSION: u32 = 0;

/// Makes sure that the folder belongs to this network and issuer; a folder without data is given to them.
///
/// Returns whether it was new.
pub(crate) fn check(disk: &dyn Disk, network: NetworkId, issuer: Issuer) -> Result<bool, StoreError> {
    let file = match disk.open(FILE) {
        Ok(file) => file,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            if !disk.list("log").map_err(io_error("list", "log"))?.is_empty() {
                return Err(StoreError::Identity { file: FILE, why: "it is not there" });
            }
            write(disk, network, issuer)?;
            return Ok(true);
        }
        Err(why) => return Err(io_error("open", FILE)(why)),
    };
    let damaged = |why| StoreError::Identity { file: FILE, why };
    if file.len().map_err(io_error("read the length of", FILE))? != BYTES as u64 {
        return Err(damaged("it has not 80 bytes"));
    }
    let mut bytes = [0; BYTES];
    file.read_at(0, &mut bytes).map_err(io_error("read", FILE))?;
    let check = crc32c::crc32c(&bytes[..BYTES - 4]).to_le_bytes();
    if bytes[..8] != MAGIC || bytes[BYTES - 4..] != check {
        return Err(damaged("its check does not fit"));
    }
    if bytes[8..12] != VERSION.to_le_bytes() {
        return Err(damaged("it is of a version that this program does not know"));
    }
    let part = |from: usize| bytes[from..from + 32].try_into().expect("32 bytes");
    let (got_network, got_issuer) = (NetworkId(part(12)), Issuer(part(44)));
    if got_network != network {
        return Err(StoreError::OtherNetwork { got: got_network, expected: network });
    }
    if got_issuer != issuer {
        return Err(StoreError::OtherIssuer { got: got_issuer, expected: issuer });
    }
    Ok(false)
}

fn write(disk: &dyn Disk, network: NetworkId, issuer: Issuer) -> Result<(), StoreError> {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&network.0);
    bytes.extend_from_slice(&issuer.0);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    // Left by a start that was cut off.
    let _ = disk.remove(TEMPORARY);
    let file = disk.create(TEMPORARY).map_err(io_error("create", TEMPORARY))?;
    file.write_at(0, &bytes).map_err(io_error("write", TEMPORARY))?;
    file.sync().map_err(io_error("sync", TEMPORARY))?;
    disk.rename(TEMPORARY, FILE).map_err(io_error("rename", TEMPORARY))?;
    disk.sync_dir("").map_err(io_error("sync the folder of", FILE))
}
