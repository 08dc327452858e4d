//! Where a passphrase comes from: a file named on the command line, or a systemd credential. Never an argument,
//! which every process on the machine could read.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zeroize::Zeroizing;

/// Name of the systemd credential (`LoadCredential=selvedge-passphrase:/etc/selvedge/passphrase`).
const CREDENTIAL: &str = "selvedge-passphrase";
const PASSPHRASE_BYTES_MAX: usize = 1_024;

/// The option that commands with sealed keys share.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PassphraseArgs {
    /// File with the passphrase that seals the key files (mode 0600; its first line counts).
    #[arg(long, env = "SELVEDGE_PASSPHRASE_FILE", value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase, when one is given.
    ///
    /// # Errors
    /// When its file cannot be read, is open to others, or is empty.
    pub fn read(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let credential =
            std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(CREDENTIAL));
        let path = self.passphrase_file.clone().or_else(|| credential.filter(|path| path.exists()));
        path.map(|path| first_line(&path)).transpose()
    }
}

pub(super) fn first_line(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let bytes = selvedge_crypto::secret_file::read(path, PASSPHRASE_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    anyhow::ensure!(!line.is_empty(), "{} is empty; expected a passphrase on its first line", path.display());
    Ok(Zeroizing::new(line.to_owned()))
}
