//! The leader's side of an approver's stream (`Operation::Attend`), and the rounds of cosigning.
//!
//! ```text
//! drive   per group led: watches what is applied; opens a round when the log has grown and the
//!         round before is complete (or has waited long enough), so that all approvers sign the
//!         same size
//! attend  per approver: sends what is new for it, takes its cosignatures
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::approver::{Answer, Attend, EVENT_LEAVES, EVENT_SESSIONS, Event, LOG_SHORTER};
use bailiwick_shard::query;
use bailiwick_storage::StoreView;
use bailiwick_tlog::Checkpoint;
use bailiwick_transport::{StreamReceiver, StreamSender};
use bailiwick_types::store::StoreError;
use bailiwick_types::{
    CertificateId, Digest, GroupId, Identity, RequestId, Role, SessionId, ShardId, Slot,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Vault;
use super::checkpoint::{Collecting, Cosigners};
use super::queries::{blocking, drafts};
use crate::clock;

/// A round that is not complete after this long makes way for a larger checkpoint.
const ROUND_PATIENCE: Duration = Duration::from_millis(250);
/// A complete checkpoint is cosigned again after this long, so that it never becomes stale.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// How soon the drive looks again when nothing woke it, but a round is to be opened.
const DRIVE_PERIOD: Duration = Duration::from_millis(250);
/// How often an approver's stream is looked after when there is no news for it.
const ATTEND_PERIOD: Duration = Duration::from_secs(5);
/// And when nothing is to be done: only the refresh of a complete round needs it. A look reads the
/// store, and a node may lead hundreds of groups.
const QUIET_PERIOD: Duration = Duration::from_secs(30);

/// A round of cosigning.
struct Round {
    /// Tells a refreshed round from the one before it at the same size.
    number: u64,
    collecting: Collecting,
    opened_at: Instant,
    complete: bool,
}

/// What a hub holds while its node leads.
#[derive(Default)]
struct Board {
    rounds: u64,
    cosigners: Cosigners,
    round: Option<Round>,
    cosigned: Option<(u64, String)>,
}

/// One home group's meeting point of leader and approvers.
pub struct Hub {
    board: Mutex<Board>,
    news: watch::Sender<u64>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            board: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }
}

impl Hub {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board
            .lock()
            .expect("nothing panics while it holds the board")
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// The latest cosigned checkpoint: its size and note.
    pub fn cosigned(&self) -> Option<(u64, String)> {
        self.board().cosigned.clone()
    }

    /// Forgets everything: this node leads no more, or not yet.
    pub(super) fn retire(&self) {
        let mut board = self.board();
        let rounds = board.rounds;
        *board = Board {
            rounds,
            ..Board::default()
        };
        drop(board);
        self.tell();
    }

    /// Whether a round of `size` leaves should open now.
    fn wants_round(&self, size: u64) -> bool {
        if size == 0 {
            return false;
        }
        match &self.board().round {
            None => true,
            Some(round) => {
                let (grown, age) = (size > round.collecting.size(), round.opened_at.elapsed());
                if round.complete {
                    grown || age > REFRESH
                } else {
                    grown && age > ROUND_PATIENCE
                }
            }
        }
    }

    /// How soon to look again at a log of `size` leaves when nothing happens.
    fn pause(&self, size: u64) -> Duration {
        match &self.board().round {
            Some(round) if size <= round.collecting.size() => QUIET_PERIOD,
            None if size == 0 => QUIET_PERIOD,
            _ => DRIVE_PERIOD,
        }
    }

    fn open_round(&self, collecting: Collecting, cosigners: Cosigners) {
        let mut board = self.board();
        board.cosigners = cosigners;
        board.rounds += 1;
        board.round = Some(Round {
            number: board.rounds,
            collecting,
            opened_at: Instant::now(),
            complete: false,
        });
        drop(board);
        self.tell();
    }

    /// Takes a member's cosignature of the current round.
    fn join(&self, role: Role, slot: Slot, size: u64, line: &str) {
        let mut board = self.board();
        let Board {
            cosigners,
            round,
            cosigned,
            ..
        } = &mut *board;
        let Some(round) = round
            .as_mut()
            .filter(|round| round.collecting.size() == size)
        else {
            return;
        };
        if let Err(error) = round.collecting.join(cosigners, role, slot, line) {
            tracing::warn!(%role, %slot, %error, "a cosignature is not joined");
            return;
        }
        if round.collecting.is_complete(cosigners) {
            *cosigned = Some((size, round.collecting.note()));
            let first = !round.complete;
            round.complete = true;
            drop(board);
            if first {
                self.tell();
            }
        }
    }

    /// The round: its number, its checkpoint's size and the leader's note.
    fn round(&self) -> Option<(u64, u64, String)> {
        let board = self.board();
        let round = board.round.as_ref()?;
        Some((
            round.number,
            round.collecting.size(),
            round.collecting.note(),
        ))
    }
}

/// What one look at the state says about a leader's duties.
struct Look {
    size: u64,
    root: Option<[u8; 32]>,
    origin: String,
    cosigners: Cosigners,
    mark: (u64, u32, Vec<(Digest, usize, usize)>),
}

fn look(store: &StoreView) -> Result<Option<Look>, StoreError> {
    let Some(info) = query::shard_info(store)? else {
        return Ok(None);
    };
    let drafts = query::drafts(store)?;
    let marks = drafts
        .iter()
        .map(|d| (d.draft, d.offered.len(), d.signed.len()))
        .collect();
    let mut cosigners = Cosigners::default();
    let plans = drafts.iter().map(|draft| &draft.plan);
    for plan in plans {
        for role in Role::ALL {
            let committee = plan.committee(role);
            cosigners.thresholds.insert(role, committee.threshold);
            for member in &committee.members {
                let who = (member.name.clone(), member.identity);
                cosigners.members.insert((role, member.slot), who);
            }
        }
    }
    // A valid certificate's committee counts before that of a plan which is only asked for.
    for found in query::certificates(store)? {
        for role in Role::ALL {
            let committee = found.certificate.body.committee(role);
            cosigners.thresholds.insert(role, committee.threshold);
            for member in &committee.members {
                let who = (member.name.clone(), member.identity);
                cosigners.members.insert((role, member.slot), who);
            }
        }
    }
    Ok(Some(Look {
        size: info.leaves,
        root: query::log_root(store, info.leaves)?,
        origin: info.origin,
        cosigners,
        // Every block is a leaf there, and no news to anybody.
        mark: (
            if info.shard.partition == 0 {
                info.leaves
            } else {
                0
            },
            info.sessions,
            marks,
        ),
    }))
}

impl Vault {
    /// Drives cosigning while this node leads the group.
    pub(super) async fn drive(&self, hub: &Hub, shard: ShardId, group: GroupId) {
        let Some(mut applied) = self.host.watch_applied(group) else {
            return;
        };
        // Subscribed once: what is told between a look and the wait for news must not be missed.
        let mut news = hub.news.subscribe();
        let mut mark = None;
        loop {
            applied.borrow_and_update();
            news.borrow_and_update();
            let looked = match self.host.read_local(group) {
                Ok(store) => blocking(move || look(&store)).await.ok().flatten(),
                Err(_) => None,
            };
            let mut pause = DRIVE_PERIOD;
            if let Some(looked) = looked {
                // A further partition's log is committed to by the home group's, and cosigned there.
                if shard.partition == 0 && hub.wants_round(looked.size) {
                    self.open_round(hub, shard, &looked);
                }
                pause = match shard.partition {
                    0 => hub.pause(looked.size),
                    _ => QUIET_PERIOD,
                };
                if mark.as_ref() != Some(&looked.mark) {
                    mark = Some(looked.mark);
                    hub.tell();
                }
            }
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                _ = news.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn open_round(&self, hub: &Hub, shard: ShardId, looked: &Look) {
        let Some(root) = looked.root else { return };
        let signed = Checkpoint::new(&looked.origin, looked.size, root)
            .map_err(|error| error.to_string())
            .and_then(|checkpoint| {
                Collecting::sign(self.name(), &self.note_key, checkpoint)
                    .map_err(|error| error.to_string())
            });
        match signed {
            Ok(collecting) => hub.open_round(collecting, looked.cosigners.clone()),
            Err(error) => tracing::error!(%shard, error, "cannot sign a checkpoint"),
        }
    }

    /// Refuses an approver that is no member of the jurisdiction's committees or of their plans.
    pub(super) async fn check_member(
        &self,
        peer: &Identity,
        shard: ShardId,
    ) -> Result<(), Refusal> {
        let looked = self.query(shard, look).await?;
        let members = looked
            .map(|looked| looked.cosigners.members)
            .unwrap_or_default();
        let is_member = members
            .iter()
            .any(|((role, _), (name, _))| peer.role.committee() == Some(*role) && *name == peer.id);
        if is_member || members.is_empty() {
            return Ok(());
        }
        Err(Refusal::Rejected {
            code: "no_member".to_owned(),
            message: format!(
                "{} is no member of {}'s committees",
                peer.id, shard.jurisdiction
            ),
        })
    }

    /// Refuses a peer that speaks for a slot which the jurisdiction's committees, or their plans, give
    /// to somebody else. What members say is signed besides; this keeps one member's certificate
    /// from filling another's place.
    pub(super) async fn check_seat(
        &self,
        peer: &Identity,
        shard: ShardId,
        role: Role,
        slot: Slot,
    ) -> Result<(), Refusal> {
        let looked = self.query(shard, look).await?;
        let members = looked
            .map(|looked| looked.cosigners.members)
            .unwrap_or_default();
        // Before anybody has called for keys there are no seats yet, and nothing to attend.
        let seated = members
            .get(&(role, slot))
            .is_some_and(|(name, _)| *name == peer.id);
        if seated || members.is_empty() {
            return Ok(());
        }
        Err(Refusal::Rejected {
            code: "other_seat".to_owned(),
            message: format!("slot: {role} slot {slot} is not {}'s", peer.id),
        })
    }

    /// Refuses an approver that has folded more leaves than a quorum has committed: the log came back
    /// from an older copy, and must not go on as if nothing had been after it.
    async fn check_goes_on(&self, peer: &Identity, attend: &Attend) -> Result<(), Refusal> {
        let size = self
            .query(attend.shard, |store| query::log_size(store))
            .await?;
        if attend.log_size <= size {
            return Ok(());
        }
        let message = format!(
            "attend.log_size: {} has folded {} leaves, {} are committed",
            peer.id, attend.log_size, size
        );
        tracing::error!(shard = %attend.shard, message, "alarm: this log is shorter than an approver's");
        Err(Refusal::Rejected {
            code: LOG_SHORTER.to_owned(),
            message,
        })
    }

    /// Serves one approver's stream until it ends or this node stops leading.
    pub(super) async fn attend(
        &self,
        peer: &Identity,
        header: &[u8],
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> Result<(), Refusal> {
        let attend: Attend = bailiwick_types::codec::decode(header)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        if peer.role.committee() != Some(attend.role) {
            return Err(Refusal::Rejected {
                code: "other_role".to_owned(),
                message: "attend.role: not the role of the certificate".to_owned(),
            });
        }
        let group = self.leads(attend.shard)?;
        self.check_seat(peer, attend.shard, attend.role, attend.slot)
            .await?;
        self.check_goes_on(peer, &attend).await?;
        let hub = self.hub(attend.shard);
        let _counted = self
            .metrics
            .attending(attend.shard.jurisdiction, attend.role);
        let mut attendance = Attendance {
            vault: self,
            hub: &hub,
            group,
            sent: Sent {
                leaves: attend.log_size,
                ..Sent::default()
            },
            attend,
            sender,
        };
        attendance.serve(receiver).await
    }
}

/// What an approver was sent already on this stream.
#[derive(Default)]
struct Sent {
    leaves: u64,
    round: u64,
    cosigned: u64,
    cosigned_note: String,
    sessions: BTreeSet<SessionId>,
    drafts: BTreeMap<Digest, Option<CertificateId>>,
    approved: BTreeSet<RequestId>,
}

/// One approver on its stream.
struct Attendance<'a> {
    vault: &'a Vault,
    hub: &'a Hub,
    group: GroupId,
    attend: Attend,
    sent: Sent,
    sender: StreamSender,
}

impl Attendance<'_> {
    async fn serve(&mut self, mut receiver: StreamReceiver) -> Result<(), Refusal> {
        let mut news = self.hub.news.subscribe();
        loop {
            news.borrow_and_update();
            self.vault.leads(self.attend.shard)?;
            if !self.push().await? {
                return Ok(());
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return Ok(()) },
                answer = receiver.recv() => match answer {
                    Ok(Some(bytes)) => self.take(&bytes)?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                () = tokio::time::sleep(ATTEND_PERIOD) => {}
                () = self.vault.stop.cancelled() => return Err(Refusal::Unavailable),
            }
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let answer: Answer = bailiwick_types::codec::decode(bytes)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let Attend { role, slot, .. } = self.attend;
        match answer {
            Answer::Cosignature { size, line } => self.hub.join(role, slot, size, &line),
            Answer::Refused { size, reason } => {
                tracing::error!(%role, %slot, size, reason, "an approver does not cosign");
            }
        }
        Ok(())
    }

    /// Sends everything that is new for this approver; false when the stream is gone.
    async fn push(&mut self) -> Result<bool, Refusal> {
        let mut events = Vec::new();
        self.checkpoint_events(&mut events).await?;
        self.state_events(&mut events).await?;
        for event in events {
            let bytes = bailiwick_types::codec::encode(&event).map_err(|_| Refusal::Store)?;
            if self.sender.send(bytes.into()).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn checkpoint_events(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let round = self.hub.round();
        if let Some((number, size, note)) = round
            && number != self.sent.round
            && size >= self.sent.leaves
        {
            while self.sent.leaves + (EVENT_LEAVES as u64) < size {
                let step = self.sent.leaves + EVENT_LEAVES as u64;
                let event = self.intermediate(step).await?;
                events.push(event);
                self.sent.leaves = step;
            }
            let leaves = self.leaves(self.sent.leaves, size).await?;
            events.push(Event::Checkpoint { note, leaves });
            self.sent.leaves = size;
            self.sent.round = number;
        }
        if let Some((size, note)) = self.hub.cosigned()
            && (size > self.sent.cosigned || note != self.sent.cosigned_note)
            && size <= self.sent.leaves
        {
            self.sent.cosigned = size;
            self.sent.cosigned_note.clone_from(&note);
            events.push(Event::Cosigned { note });
        }
        Ok(())
    }

    /// A checkpoint between what an approver that was long away has and what there is.
    async fn intermediate(&self, size: u64) -> Result<Event, Refusal> {
        let leaves = self.leaves(self.sent.leaves, size).await?;
        let store = self
            .vault
            .host
            .read_local(self.group)
            .map_err(|_| Refusal::Unavailable)?;
        let (origin, root) = blocking(move || {
            let origin = query::shard_info(&store)?.map(|info| info.origin);
            Ok((origin, query::log_root(&store, size)?))
        })
        .await?;
        let (Some(origin), Some(root)) = (origin, root) else {
            return Err(Refusal::Unavailable);
        };
        let checkpoint = Checkpoint::new(&origin, size, root).map_err(|_| Refusal::Store)?;
        let signed = Collecting::sign(self.vault.name(), &self.vault.note_key, checkpoint);
        let note = signed.map_err(|_| Refusal::Store)?.note();
        Ok(Event::Checkpoint { note, leaves })
    }

    async fn leaves(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Vec<bailiwick_envelope::leaf::OpenedLeaf>, Refusal> {
        let store = self
            .vault
            .host
            .read_local(self.group)
            .map_err(|_| Refusal::Unavailable)?;
        let limit = to.saturating_sub(from) as usize;
        blocking(move || query::leaves(&store, from, limit)).await
    }

    async fn state_events(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let store = self
            .vault
            .host
            .read_local(self.group)
            .map_err(|_| Refusal::Unavailable)?;
        let Attend {
            shard, role, slot, ..
        } = self.attend;
        let now = clock::now();
        let (sessions, drafts, approved) = blocking(move || {
            let sessions = query::unanswered_sessions(&store, role, slot, EVENT_SESSIONS)?;
            let approved = query::awaiting_release(&store, role, slot, now, EVENT_LEAVES)?;
            Ok((sessions, drafts(&store, shard)?, approved))
        })
        .await?;
        let sessions: Vec<_> = sessions
            .into_iter()
            .filter(|header| self.sent.sessions.insert(header.id()))
            .collect();
        if !sessions.is_empty() {
            events.push(Event::Sessions(sessions));
        }
        let drafts: Vec<_> = drafts
            .into_iter()
            .filter(|draft| {
                let stage = draft.body.as_ref().map(|body| body.id());
                let mine = (role, slot);
                let due = match stage {
                    None => !draft.offered.contains(&mine),
                    Some(_) => !draft.signed.contains(&mine),
                };
                due && self.sent.drafts.insert(draft.draft, stage) != Some(stage)
            })
            .collect();
        if !drafts.is_empty() {
            events.push(Event::Drafts(drafts));
        }
        let approved: Vec<_> = approved
            .into_iter()
            .filter(|request| self.sent.approved.insert(*request))
            .collect();
        if !approved.is_empty() {
            events.push(Event::Approved(approved));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collecting(size: u64) -> Collecting {
        let name = "vault-1".parse().expect("a name");
        let key = bailiwick_envelope::SigningKey::from_bytes(&[7; 32]);
        let checkpoint = Checkpoint::new("example/FR", size, [9; 32]).expect("valid");
        Collecting::sign(&name, &key, checkpoint).expect("signs")
    }

    /// A log that does not grow is cosigned again: else its checkpoint would become stale, and an
    /// edge could open no session.
    #[test]
    fn a_refreshed_round_of_the_same_size_is_another_round() {
        let hub = Hub::default();
        hub.open_round(collecting(3), Cosigners::default());
        let first = hub.round().expect("a round");
        hub.open_round(collecting(3), Cosigners::default());
        let second = hub.round().expect("a round");
        assert_eq!(first.1, second.1);
        assert_ne!(first.0, second.0);
        // A node that leads again does not begin to count anew: its attendees would take a new
        // round for an old one.
        hub.retire();
        hub.open_round(collecting(3), Cosigners::default());
        assert!(hub.round().expect("a round").0 > second.0);
    }

    #[test]
    fn rounds_open_when_the_log_has_grown_and_not_for_an_empty_one() {
        let hub = Hub::default();
        assert!(!hub.wants_round(0));
        assert!(hub.wants_round(3));
        hub.open_round(collecting(3), Cosigners::default());
        assert!(!hub.wants_round(3), "the same size, and fresh");
        assert!(
            !hub.wants_round(4),
            "the round before is not complete, and not old"
        );
    }
}
