//! Arming: a file on the gateway itself, without which nothing is written to any machine.
//!
//! The file names the devices and how long they are armed, counted from when it was written:
//!
//! ```toml
//! devices = ["filler"]
//! for = "10min"
//! ```
//!
//! It must be a plain file that belongs to root or to the owner of its folder and that nobody else may write; so only
//! somebody with an account on the gateway can arm it, and nothing that comes over a network can. Removing it disarms.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::clock::Clock;
use crate::config::duration;

/// A gateway is armed for at most this long at once.
pub const ARMED_MAX: Duration = Duration::from_hours(24);
/// The file is at most this long.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// A file from the future by more than this, by the wall clock, arms nothing.
const AHEAD_MAX_NS: i64 = 5_000_000_000;

/// Where the file lies.
#[derive(Debug, Clone)]
pub struct Arming {
    file: PathBuf,
    clock: Arc<dyn Clock>,
}

/// Why a device is not armed, and what arms it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the gateway is not armed for {device:?}: {why}; whoever stands at the gateway arms it: selvedge adapter arm {device} --for 10min"
)]
pub struct NotArmed {
    /// The device.
    pub device: String,
    /// Why.
    pub why: String,
}

/// The word of the file that a device is armed. Only [`Arming::permit`] gives it.
#[derive(Debug, Clone)]
pub struct Permit {
    arming: Arming,
    device: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    devices: Vec<String>,
    #[serde(rename = "for")]
    lasts: String,
}

impl Permit {
    /// Is it still armed?
    pub(crate) fn holds(&self) -> bool {
        self.arming.permit(&self.device).is_ok()
    }
}

impl Arming {
    /// By this file, which need not exist.
    pub const fn new(file: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { file, clock }
    }

    /// Is this device armed now?
    ///
    /// # Errors
    /// Why not.
    pub fn permit(&self, device: &str) -> Result<Permit, NotArmed> {
        match self.check(device) {
            Ok(()) => Ok(Permit { arming: self.clone(), device: device.to_owned() }),
            Err(why) => Err(NotArmed { device: device.to_owned(), why }),
        }
    }

    fn check(&self, device: &str) -> Result<(), String> {
        let (file, written_ns) = read(&self.file)?;
        if !file.devices.iter().any(|armed| armed == device) {
            return Err(format!("{} arms {}", self.file.display(), file.devices.join(", ")));
        }
        let lasts = duration(&file.lasts).map_err(|expected| format!("`for`: expected {expected}"))?;
        if lasts > ARMED_MAX {
            return Err(format!("`for` is longer than {} hours", ARMED_MAX.as_secs() / 3_600));
        }
        let age_ns = self.clock.wall_ns().saturating_sub(written_ns);
        if age_ns < -AHEAD_MAX_NS {
            return Err(format!("{} was written in the future, by this clock", self.file.display()));
        }
        if u128::try_from(age_ns).unwrap_or(0) > lasts.as_nanos() {
            return Err(format!("it was armed for {}, which is over", file.lasts));
        }
        Ok(())
    }

    /// Arms these devices from now on, instead of what was armed before.
    ///
    /// # Errors
    /// When the file cannot be written, or the time is longer than [`ARMED_MAX`].
    pub fn arm(&self, devices: &[String], lasts: Duration) -> std::io::Result<()> {
        if lasts > ARMED_MAX {
            let what = format!("a gateway is armed for at most {} hours", ARMED_MAX.as_secs() / 3_600);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
        }
        let text = format!(
            "# Armed by `selvedge adapter arm`; counted from the time of this file. Remove it to disarm.\n\
             devices = {devices:?}\nfor = \"{}ms\"\n",
            lasts.as_millis()
        );
        let new = self.file.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, &self.file)
    }

    /// Disarms everything.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn disarm(&self) -> std::io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// What stands in the file and when it was written, in ns since 1970, if it can be trusted.
fn read(path: &Path) -> Result<(File, i64), String> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("there is no {shown}"));
        }
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let folder = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return Err(format!("{shown} is no plain file of at most {FILE_BYTES_MAX} bytes"));
    }
    if found.uid() != 0 && found.uid() != folder.uid() {
        return Err(format!("{shown} belongs neither to root nor to the owner of its folder"));
    }
    for (what, mode) in [("it", found.permissions().mode()), ("its folder", folder.permissions().mode())] {
        if mode & 0o022 != 0 {
            return Err(format!("{shown}: others may write {what}: chmod go-w"));
        }
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let file = toml::from_str(&text).map_err(|error| format!("{shown}: {}", error.message()))?;
    Ok((file, found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())))
}
