//! The member's side: who may redeem what. One of these runs in a gateway; all state lies in its folder, so that it
//! works whether an invitation was made before the node started or while it runs, and after any crash.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use selvedge_core::Issuer;
use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use selvedge_core::payload::Enrol;
use selvedge_crypto::ids;

use super::book::{Invitation, InvitationId, Redeemed, list};
use super::exchange::{Answer, EXPORTER_BYTES, Redeem, Refusal, Welcome, answer_proof, redeem_proof, same};
use crate::credential::{self, Authority, CredentialError};
use crate::folder::{Admitted, Folder, FolderError};

/// Wrong attempts that one address has in a minute. Guessing is hopeless against 128 bits; this spares the log.
const WRONG_PER_MINUTE: u32 = 10;
const MINUTE_S: u64 = 60;
/// Addresses whose wrong attempts are counted. When there are more, the oldest count is given up.
const SOURCES_MAX: usize = 256;
/// After the last open invitation was redeemed or ended, strangers are let as far as the desk for so long, in seconds:
/// whoever comes second or late hears why.
const LINGER_S: u64 = 10 * 60;

/// Whoever stands at the other end of a connection for joining.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The key that it has shown to be its own in the TLS handshake.
    pub key: PublicKey,
    /// Where it comes from.
    pub source: IpAddr,
    /// Keying material that TLS exports for this connection.
    pub exporter: [u8; EXPORTER_BYTES],
}

/// What a look into the folder showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// May strangers come as far as the desk? Only then is their handshake worth anything.
    pub guests: bool,
    /// Whom this gateway let in and no look has shown yet: their keys may connect from now on.
    pub admitted: Vec<Admitted>,
}

/// Decides about redemptions.
#[derive(Debug)]
pub struct Desk {
    folder: Folder,
    /// `None`: this gateway may let nobody in.
    authority: Option<Authority>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Shown by a look already.
    shown: BTreeSet<Issuer>,
    /// Until when strangers may come for this invitation, in seconds since 1970.
    open_until: BTreeMap<InvitationId, OpenUntil>,
    /// Since when, and how many: wrong attempts by address.
    wrong: BTreeMap<IpAddr, (u64, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct OpenUntil {
    until_s: u64,
    is_redeemed: bool,
}

impl Desk {
    /// The desk of a folder. Its organisation's key, or the gateway's first key, stays in memory.
    ///
    /// # Errors
    /// When a key cannot be read. A gateway that may let nobody in has a desk all the same: it says so.
    pub fn open(folder: &Folder, passphrase: Option<&str>) -> Result<Self, CredentialError> {
        let authority = match Authority::of(folder, passphrase) {
            Ok(authority) => Some(authority),
            Err(CredentialError::NotAllowed) => None,
            Err(why) => return Err(why),
        };
        Ok(Self { folder: folder.clone(), authority, state: Mutex::default() })
    }

    /// Looks into the folder. Cheap when nothing changed: files are read once.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn look(&self, now_s: u64) -> Result<Look, FolderError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { shown, open_until, .. } = &mut *state;
        let admitted = self.folder.all_admitted(|issuer| shown.contains(issuer))?;
        shown.extend(admitted.iter().map(|a| a.issuer));
        let there = list(&self.folder)?;
        open_until.retain(|id, _| there.binary_search(id).is_ok());
        for id in there {
            let known = open_until.get(&id);
            if known.is_some_and(|known| known.is_redeemed || known.until_s < now_s) {
                continue;
            }
            match self.open_until(&id) {
                Ok(Some(until)) => drop(open_until.insert(id, until)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "an invitation is left out");
                    // Not looked at again, nor said again.
                    open_until.insert(id, OpenUntil { until_s: 0, is_redeemed: true });
                }
            }
        }
        let guests = self.authority.is_some() && open_until.values().any(|open| open.until_s >= now_s);
        Ok(Look { guests, admitted })
    }

    fn open_until(&self, id: &InvitationId) -> Result<Option<OpenUntil>, FolderError> {
        let Some(invitation) = Invitation::read(&self.folder, id)? else { return Ok(None) };
        let ended = Redeemed::read(&self.folder, id)?;
        let ends_s = ended.as_ref().map_or(invitation.expires_s, |r| r.redeemed_s.min(invitation.expires_s));
        Ok(Some(OpenUntil { until_s: ends_s.saturating_add(LINGER_S), is_redeemed: ended.is_some() }))
    }

    /// Decides about a guest's message, and says what to answer. When it is a welcome, the guest is admitted durably,
    /// and the invitation is redeemed durably, by this key and no other; the same key gets the same answer again.
    ///
    /// Reads and writes files, and signs: not for a thread that others wait for.
    pub fn redeem(&self, message: &[u8], guest: &Guest, addresses: &[String], now_s: u64) -> Answer {
        let outcome = self.decide(message, guest, addresses, now_s);
        match &outcome {
            Ok(_) => tracing::info!(gateway = %ids::to_text(&guest.key.issuer()), "let in by an invitation"),
            // As often as strangers like: said aloud only as far as wrong attempts are counted.
            Err(why @ (Refusal::Busy(_) | Refusal::OtherNetwork(_))) => {
                tracing::debug!(source = %guest.source, %why, "an invitation was not redeemed");
            }
            Err(why) => tracing::warn!(source = %guest.source, %why, "an invitation was not redeemed"),
        }
        Answer { version: 0, outcome }
    }

    fn decide(
        &self,
        message: &[u8],
        guest: &Guest,
        addresses: &[String],
        now_s: u64,
    ) -> Result<Welcome, Refusal> {
        // One at a time: of two who come with one line, one is first. (The file decides that too.)
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.check_rate(guest.source, now_s)?;
        let redeem: Redeem =
            codec::decode(message).map_err(|_| state.wrong(guest.source, now_s, Refusal::Malformed))?;
        let network = self.folder.network().id();
        if redeem.network != network {
            return Err(Refusal::OtherNetwork(network));
        }
        let failed = |error: FolderError| {
            tracing::error!(%error, "an invitation could not be redeemed");
            Refusal::Failed
        };
        let invitation = Invitation::read(&self.folder, &redeem.invitation).map_err(failed)?;
        let Some(invitation) = invitation.filter(|i| i.network == network) else {
            return Err(state.wrong(guest.source, now_s, Refusal::Unknown));
        };
        // Before anything is said about the invitation.
        if !same(&redeem_proof(&invitation.key, &guest.exporter, &redeem), &redeem.proof) {
            return Err(state.wrong(guest.source, now_s, Refusal::Proof));
        }
        if redeem.key != guest.key {
            return Err(Refusal::OtherKey);
        }
        let redeemed = self.first(&invitation, &redeem, now_s)?;
        let enrol: Enrol = codec::decode(&redeemed.enrolment).map_err(|error| {
            tracing::error!(%error, "the record of a redeemed invitation is damaged");
            Refusal::Failed
        })?;
        if redeem.name.as_ref().is_some_and(|name| *name != enrol.name) {
            return Err(Refusal::OtherName(enrol.name));
        }
        self.admit(enrol, redeemed.redeemed_s).map_err(failed)?;
        let (genesis, enrolment) = (self.folder.genesis_bytes().to_vec(), redeemed.enrolment);
        let mut welcome = Welcome { genesis, enrolment, addresses: addresses.to_vec(), proof: [0; 32] };
        welcome.proof = answer_proof(&invitation.key, &guest.exporter, &redeem.proof, &welcome);
        Ok(welcome)
    }

    /// The record of the one who redeems this invitation, if that is this joiner, now or earlier.
    fn first(&self, invitation: &Invitation, redeem: &Redeem, now_s: u64) -> Result<Redeemed, Refusal> {
        let failed = |error: FolderError| {
            tracing::error!(%error, "an invitation could not be redeemed");
            Refusal::Failed
        };
        let issuer = redeem.key.issuer();
        if let Some(redeemed) = Redeemed::read(&self.folder, &invitation.id).map_err(failed)? {
            return by(issuer, redeemed);
        }
        if invitation.expires_s < now_s {
            return Err(Refusal::Expired(invitation.expires_s));
        }
        let name = match (&invitation.name, &redeem.name) {
            (Some(given), Some(asked)) if given != asked => return Err(Refusal::OtherName(given.clone())),
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => format!("gateway-{}", issuer.short()),
        };
        let Some(authority) = &self.authority else {
            tracing::error!("an invitation could not be redeemed: {}", CredentialError::NotAllowed);
            return Err(Refusal::Failed);
        };
        let roles = credential::roles();
        let credential = authority.sign(issuer, &name, &roles).map_err(|error| {
            tracing::error!(%error, "an invitation could not be redeemed");
            Refusal::Failed
        })?;
        let enrolment = credential::enrolment(redeem.key.clone(), &name, &roles, &credential);
        let redeemed = Redeemed { version: 0, id: invitation.id, issuer, enrolment, redeemed_s: now_s };
        if redeemed.keep(&self.folder).map_err(failed)? {
            return Ok(redeemed);
        }
        let first = Redeemed::read(&self.folder, &invitation.id).map_err(failed)?;
        by(issuer, first.ok_or(Refusal::Failed)?)
    }

    /// After the invitation is redeemed, so that only its redeemer is ever admitted. A crash between the two leaves a
    /// joiner that asks again.
    fn admit(&self, enrol: Enrol, admitted_s: u64) -> Result<(), FolderError> {
        let issuer = enrol.key.issuer();
        if self.folder.admitted(&issuer)?.is_some() {
            return Ok(());
        }
        let Enrol { key, name, roles, credential } = enrol;
        self.folder.admit(&Admitted {
            version: 0,
            issuer,
            key: Some(key),
            name,
            roles,
            credential,
            admitted_s,
        })
    }
}

fn by(issuer: Issuer, redeemed: Redeemed) -> Result<Redeemed, Refusal> {
    if redeemed.issuer == issuer { Ok(redeemed) } else { Err(Refusal::Redeemed(redeemed.redeemed_s)) }
}

impl State {
    fn check_rate(&self, source: IpAddr, now_s: u64) -> Result<(), Refusal> {
        match self.wrong.get(&subnet(source)) {
            Some((since, count)) if *count >= WRONG_PER_MINUTE && now_s < since.saturating_add(MINUTE_S) => {
                let left_s = since.saturating_add(MINUTE_S).saturating_sub(now_s);
                Err(Refusal::Busy(u32::try_from(left_s).unwrap_or(u32::MAX)))
            }
            _ => Ok(()),
        }
    }

    /// Counts a wrong attempt.
    fn wrong(&mut self, source: IpAddr, now_s: u64, refusal: Refusal) -> Refusal {
        let source = subnet(source);
        if self.wrong.len() >= SOURCES_MAX && !self.wrong.contains_key(&source) {
            let oldest = self.wrong.iter().min_by_key(|(_, (since, _))| *since).map(|(source, _)| *source);
            oldest.and_then(|oldest| self.wrong.remove(&oldest));
        }
        let entry = self.wrong.entry(source).or_insert((now_s, 0));
        if now_s >= entry.0.saturating_add(MINUTE_S) {
            *entry = (now_s, 0);
        }
        entry.1 += 1;
        refusal
    }
}

/// A household of IPv6 has 2⁶⁴ addresses: they count as one.
fn subnet(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}
