//! `bailiwick request`: enter, show, list, follow and recall requests for disclosure.
//!
//! The account id stays on this device: what leaves it is the pseudonym under the jurisdiction's
//! key. A window is rounded outward to whole minutes, and shown so before and after.

use std::path::Path;
use std::time::Duration;

use bailiwick_api::request::{RequestState, RequestSummary, RequestView};
use bailiwick_client::Cluster;
use bailiwick_client::certificates::live_certificate;
use bailiwick_client::intake::{
    Intake, documents_digest, list_requests, read_request, scope_line, watch_request,
};
use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::request::{DisclosureRequest, Purpose, Recipient};
use bailiwick_envelope::{Encoder, HpkeTag};
use bailiwick_policy::Policy;
use bailiwick_threshold::{PseudonymKey, hpke, pseudonym};
use bailiwick_types::{Category, Jurisdiction, Name, RequestId, Role, SubjectPseudonym, Timestamp};
use serde::Serialize;

use crate::args::{NewRequestOptions, PurposeWord, RequestVerb};
use crate::connect::{of_call, of_certificates};
use crate::failure::Failure;
use crate::keys::{RecipientCard, draw, read_pseudonym_key};
use crate::output::Output;
use crate::profile::{Profile, missing};

/// Requests of one page of a list.
const PAGE: u32 = 500;

/// What is asked for, before it becomes a request.
#[derive(Clone, Debug)]
pub struct Order {
    /// The custody jurisdiction.
    pub custody: Policy,
    /// The forum's policy.
    pub forum: Policy,
    /// The subject.
    pub subject: SubjectPseudonym,
    /// The kinds.
    pub kinds: Vec<Category>,
    /// Begin and end of the window, as the order states them.
    pub window: (Timestamp, Timestamp),
    /// What for.
    pub purpose: Purpose,
    /// The law that the order cites.
    pub legal_basis: String,
    /// The authority.
    pub authority: Name,
    /// Its case reference.
    pub reference: String,
    /// Who enters it.
    pub entered_by: Name,
    /// Who receives.
    pub recipient: Recipient,
    /// Most records.
    pub cap: u32,
    /// When the request lapses.
    pub not_after: Timestamp,
}

impl Order {
    /// The request, with a salt of its own.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn into_request(self, documents: &[u8]) -> Result<DisclosureRequest, Failure> {
        let scope = scope_line(self.subject, self.kinds, self.window.0, self.window.1);
        Ok(DisclosureRequest {
            jurisdiction: self.custody.jurisdiction(),
            forum: self.forum.jurisdiction(),
            scope: vec![scope],
            purpose: self.purpose,
            legal_basis: self.legal_basis,
            authority: self.authority,
            reference: self.reference,
            entered_by: self.entered_by,
            documents: documents_digest(documents),
            recipient: self.recipient,
            cap: self.cap,
            not_after: self.not_after,
            forum_policy: self.forum.digest(),
            custody_policy: self.custody.digest(),
            generation: 1,
            salt: draw()?,
        })
    }
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when an input is wrong, or the cluster refuses or does not answer.
pub async fn run(
    cluster: &Cluster,
    profile: &Profile,
    verb: &RequestVerb,
    output: Output,
) -> Result<(), Failure> {
    match verb {
        RequestVerb::New(options) => new(cluster, profile, options, output).await,
        RequestVerb::Show {
            request,
            jurisdiction,
        } => {
            let code = profile.jurisdiction_or(*jurisdiction)?;
            show(&read(cluster, code, *request).await?, output);
            Ok(())
        }
        RequestVerb::List { jurisdiction, open } => {
            let code = profile.jurisdiction_or(*jurisdiction)?;
            let requests = list(cluster, code, *open).await?;
            print_list(&requests, output);
            Ok(())
        }
        RequestVerb::Watch {
            request,
            jurisdiction,
        } => {
            let code = profile.jurisdiction_or(*jurisdiction)?;
            watch(cluster, code, *request, output).await
        }
        RequestVerb::Recall {
            request,
            jurisdiction,
            reason,
        } => {
            let code = profile.jurisdiction_or(*jurisdiction)?;
            let recalled = Intake::new(cluster.clone())
                .recall(code, *request, reason)
                .await;
            let what = "the request was not recalled";
            show(&recalled.map_err(|error| of_call(what, &error))?, output);
            Ok(())
        }
    }
}

/// Reads a request as it stands.
///
/// # Errors
/// [`Failure`].
pub async fn read(
    cluster: &Cluster,
    code: Jurisdiction,
    request: RequestId,
) -> Result<RequestView, Failure> {
    let view = read_request(cluster, code, request).await;
    view.map_err(|error| of_call("the request was not read", &error))
}

async fn list(
    cluster: &Cluster,
    code: Jurisdiction,
    open_only: bool,
) -> Result<Vec<RequestSummary>, Failure> {
    let mut requests: Vec<RequestSummary> = Vec::new();
    loop {
        let after = requests.last().map(|request| request.id);
        let page = list_requests(cluster, code, after, PAGE, open_only).await;
        let page = page.map_err(|error| of_call("the requests were not listed", &error))?;
        let empty = page.requests.is_empty();
        requests.extend(page.requests);
        if !page.more || empty {
            return Ok(requests);
        }
    }
}

async fn new(
    cluster: &Cluster,
    profile: &Profile,
    options: &NewRequestOptions,
    output: Output,
) -> Result<(), Failure> {
    let code = profile.jurisdiction_or(options.jurisdiction)?;
    let forum = options.forum.unwrap_or(code);
    let key = pseudonym_key(profile, code)?;
    let now = bailiwick_client::now();
    let valid = Duration::from_secs(u64::from(options.valid_hours) * 3600);
    let window = (instant("from", &options.from)?, instant("to", &options.to)?);
    if window.0 >= window.1 {
        let why = "its end is not after its begin";
        return Err(Failure::usage(
            "the window is none",
            why,
            "correct --from and --to",
        ));
    }
    let order = Order {
        custody: profile.policy(code, options.custody_policy.as_deref())?,
        forum: profile.policy(forum, options.forum_policy.as_deref())?,
        subject: pseudonym(&key, &options.subject),
        kinds: options.kinds.clone(),
        window,
        purpose: match options.purpose {
            PurposeWord::Identify => Purpose::Identify,
            PurposeWord::History => Purpose::History,
        },
        legal_basis: options.legal_basis.clone(),
        authority: options.authority.clone(),
        reference: options.reference.clone(),
        entered_by: profile.name.clone(),
        recipient: RecipientCard::load(&options.recipient)?,
        cap: options.cap,
        not_after: now.plus(valid),
    };
    let documents = match &options.document {
        None => Vec::new(),
        Some(path) => {
            let trust = profile.trust_file()?;
            let live = live_certificate(cluster, &trust, code, now).await;
            let live =
                live.map_err(|error| of_certificates("the document was not sealed", &error))?;
            seal_document(path, code, &live.certificate)?
        }
    };
    let request = order.into_request(&documents)?;
    let submitted = Intake::new(cluster.clone())
        .submit(request, documents.into())
        .await;
    show(
        &submitted.map_err(|error| of_call("the request was not accepted", &error))?,
        output,
    );
    Ok(())
}

/// Seals a document to every member of a certificate.
///
/// ```text
/// documents = E(role, slot, HPKE(member's documents key; info = E("documents", code, role, slot)))..
/// ```
fn seal_document(
    path: &Path,
    code: Jurisdiction,
    certificate: &VerifiedCertificate,
) -> Result<Vec<u8>, Failure> {
    let document = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let mut encoder = Encoder::new();
    for (role, member) in certificate.body().members() {
        let info = HpkeTag::Documents.info(|e| {
            e.text(code.as_str())
                .u8(role.code())
                .u8(member.slot.number());
        });
        let sealed = hpke::seal(&mut rand::rng(), &member.documents, &info, &document);
        let sealed = sealed.map_err(|error| Failure::file(path, &error))?;
        encoder
            .u8(role.code())
            .u8(member.slot.number())
            .bytes(&sealed);
    }
    Ok(encoder.finish())
}

async fn watch(
    cluster: &Cluster,
    code: Jurisdiction,
    request: RequestId,
    output: Output,
) -> Result<(), Failure> {
    let mut known = None;
    loop {
        let view = match known {
            None => read(cluster, code, request).await?,
            Some(state) => watch_request(cluster, code, request, state)
                .await
                .map_err(|error| of_call("the request was not read", &error))?,
        };
        if known != Some(view.state) {
            let line = State {
                request,
                state: view.state,
                approvals: approvals(&view),
            };
            output.line(&line, || {
                format!(
                    "{}  {}  {}",
                    bailiwick_client::now(),
                    view.state.as_str(),
                    approvals(&view)
                )
            });
        }
        known = Some(view.state);
        let is_final = matches!(
            view.state,
            RequestState::Delivered
                | RequestState::NoData
                | RequestState::Refused
                | RequestState::Recalled
                | RequestState::Lapsed
        );
        if is_final {
            return Ok(());
        }
    }
}

#[derive(Serialize)]
struct State {
    request: RequestId,
    state: RequestState,
    approvals: String,
}

/// Who approved, in words: `workflow 1, 3; legal-review 2`.
pub fn approvals(view: &RequestView) -> String {
    let slots = |role: Role| -> String {
        let statements = view.decisions.iter().map(|decision| &decision.statement);
        let approved = statements
            .filter(|statement| statement.role == role && statement.decision == Decision::Approve);
        let slots: Vec<String> = approved
            .map(|statement| statement.slot.to_string())
            .collect();
        if slots.is_empty() {
            "none".to_owned()
        } else {
            slots.join(", ")
        }
    };
    format!(
        "workflow {}; legal-review {}",
        slots(Role::Workflow),
        slots(Role::LegalReview)
    )
}

/// The words in which a request and its selection are shown, to reviewers too.
pub fn in_words(view: &RequestView) -> Vec<(&'static str, String)> {
    let request = &view.request;
    let mut fields = vec![
        ("request", view.id.to_string()),
        ("state", view.state.as_str().to_owned()),
        (
            "custody, forum",
            format!("{}, {}", request.jurisdiction, request.forum),
        ),
        (
            "authority",
            format!("{}, {}", request.authority, request.reference),
        ),
        ("legal basis", request.legal_basis.clone()),
        ("purpose", purpose_word(request.purpose).to_owned()),
    ];
    for line in &request.scope {
        let kinds: Vec<_> = line.categories.iter().map(|kind| kind.as_str()).collect();
        let subject = &line.subject.to_string()[..8];
        let scope = format!(
            "{} of subject {subject}, from {} until before {}",
            kinds.join(" and "),
            line.from,
            line.to
        );
        fields.push(("scope", scope));
    }
    let (count, phones) = (view.selection.count, view.selection.phones);
    let ips = count.saturating_sub(phones);
    fields.extend([
        (
            "found",
            format!(
                "{count} records: {phones} phone, {ips} ip; at most {}",
                request.cap
            ),
        ),
        (
            "recipient",
            format!(
                "{} (key {})",
                request.recipient.name,
                recipient_key(request)
            ),
        ),
        ("entered by", request.entered_by.to_string()),
        ("lapses", request.not_after.to_string()),
    ]);
    fields
}

fn recipient_key(request: &DisclosureRequest) -> String {
    request.recipient.key.recipient_hash().short()
}

fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Identify => "identify",
        Purpose::History => "history",
    }
}

/// Shows a request with everything that happened to it.
pub fn show(view: &RequestView, output: Output) {
    let mut fields = in_words(view);
    fields.push(("approved by", approvals(view)));
    let released = view.releases.iter();
    let released: Vec<String> = released
        .map(|(role, slot, leaf)| format!("{role} {slot} (leaf {leaf})"))
        .collect();
    if !released.is_empty() {
        fields.push(("released by", released.join(", ")));
    }
    for (role, slot, reason) in &view.member_refusals {
        fields.push(("not released by", format!("{role} {slot}: {reason}")));
    }
    if let Some(code) = view.refusal {
        fields.push(("refused", code.as_str().to_owned()));
    }
    fields.push(("logged at", view.logged_at.to_string()));
    output.fields(&fields);
}

fn print_list(requests: &[RequestSummary], output: Output) {
    let slots = |slots: &[bailiwick_types::Slot]| -> String {
        slots
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    output.list(
        [
            "request",
            "state",
            "forum",
            "authority",
            "reference",
            "found",
            "workflow",
            "legal",
            "lapses",
        ],
        requests,
        |request| {
            [
                request.id.to_string(),
                request.state.as_str().to_owned(),
                request.forum.to_string(),
                request.authority.to_string(),
                request.reference.clone(),
                request.count.to_string(),
                slots(&request.workflow_approvals),
                slots(&request.legal_approvals),
                request.not_after.to_string(),
            ]
        },
    );
}

/// A jurisdiction's pseudonym key, of the profile.
///
/// # Errors
/// [`Failure`] (usage) when the profile has none.
pub fn pseudonym_key(profile: &Profile, code: Jurisdiction) -> Result<PseudonymKey, Failure> {
    let path = profile
        .pseudonym_keys
        .get(code.as_str())
        .ok_or_else(|| missing("pseudonym_keys", &format!("the pseudonym key of {code}")))?;
    read_pseudonym_key(path).map_err(|error| Failure::file(path, &error))
}

/// An instant of the command line.
///
/// # Errors
/// [`Failure`] (usage) names the option.
pub fn instant(option: &str, text: &str) -> Result<Timestamp, Failure> {
    Timestamp::parse_rfc3339(text).map_err(|error| {
        let what = format!("--{option} {text} is no instant");
        Failure::usage(what, error.to_string(), "write it as 2026-11-24T08:00:00Z")
    })
}
