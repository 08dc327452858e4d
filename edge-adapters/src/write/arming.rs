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
//!
//! Root may arm a gateway that runs as another user: the file is given to the owner of the folder, who is the one that
//! must read it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::user::user_name;
use crate::clock::Clock;
use crate::config::duration;

/// A gateway is armed for at most this long at once.
pub const ARMED_MAX: Duration = Duration::from_hours(24);
/// The file is at most this long.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// A file from the future by more than this, by the wall clock, arms nothing.
const AHEAD_MAX_NS: i64 = 5_000_000_000;
/// Users below this are services and not people (login.defs(5), `UID_MIN`): nobody is logged in as one.
const PEOPLE_FROM_UID: u32 = 1_000;

/// Where the file lies.
#[derive(Debug, Clone)]
pub struct Arming {
    file: PathBuf,
    clock: Arc<dyn Clock>,
}

/// Why a device is not armed, and what arms it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the gateway is not armed for {device:?}, so nothing was sent: {why}{advice}")]
pub struct NotArmed {
    /// The device.
    pub device: String,
    /// Why.
    pub why: String,
    /// How whoever stands at the gateway arms it, after a semicolon; empty where nobody can.
    pub advice: String,
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
            Err(why) => Err(NotArmed { device: device.to_owned(), why, advice: self.advice(device) }),
        }
    }

    /// The command that arms a device here, as the user who may.
    fn advice(&self, device: &str) -> String {
        let folder = folder_of(&self.file);
        let shown = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let as_owner = match fs::metadata(folder).map(|folder| folder.uid()) {
            Ok(0) => "sudo ".to_owned(),
            Ok(uid) if uid < PEOPLE_FROM_UID => format!("sudo -u {} ", user_name(uid)),
            _ => String::new(),
        };
        let (device, folder) = (shell_word(device), shell_word(&shown.display().to_string()));
        format!(
            "; whoever stands at the gateway arms it: {as_owner}selvedge adapter arm {device} --for 10min --data {folder}"
        )
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
    /// When the file cannot be written, this user is neither root nor the owner of its folder, or the time is longer than
    /// [`ARMED_MAX`].
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
        let written =
            out.write_all(text.as_bytes()).and_then(|()| self.give(&out)).and_then(|()| out.sync_all());
        written.and_then(|()| fs::rename(&new, &self.file)).inspect_err(|_| {
            // What could not be written is no reason for another error.
            let _ = fs::remove_file(&new);
        })
    }

    /// Gives a new file to the owner of its folder, if it belongs to somebody else.
    fn give(&self, file: &fs::File) -> std::io::Result<()> {
        let folder = fs::metadata(folder_of(&self.file))?;
        let Some((uid, gid)) = heir(file.metadata()?.uid(), (folder.uid(), folder.gid())) else {
            return Ok(());
        };
        fchown(file, Some(uid), Some(gid)).map_err(|error| {
            let (owner, folder) = (user_name(uid), folder_of(&self.file).display());
            let what =
                format!("{folder} belongs to {owner}; this needs to run as {owner}, or as root ({error})");
            std::io::Error::new(error.kind(), what)
        })
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

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// To which user and group a file of the user `creator` must be given so that whoever `owns` its folder can read it.
pub(crate) fn heir(creator: u32, owns: (u32, u32)) -> Option<(u32, u32)> {
    (creator != owns.0).then_some(owns)
}

/// As a shell takes it for one word.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
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
    let folder = folder_of(path);
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
    let text = fs::read_to_string(path).map_err(|error| {
        let (owner, must) = (user_name(found.uid()), user_name(folder.uid()));
        format!("{shown} belongs to {owner} and must be readable for {must}: {error}")
    })?;
    let file = toml::from_str(&text).map_err(|error| format!("{shown}: {}", error.message()))?;
    Ok((file, found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())))
}
