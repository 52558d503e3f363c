//! Every line of "Bad input" in docs/legal-process.md that this crate can see, with the typed
//! refusal that it gets. The table in the document is this test's output, word for word.

use bailiwick_envelope::approval::Decision;
use bailiwick_envelope::request::Purpose;
use bailiwick_types::{Digest, Jurisdiction, Role, SelectionId, Slot, Timestamp};

use super::world::{DAY, HOUR, NOON, SHIPPED, World, code, line, name, shipped};
use crate::case::AttributionPoint;
use crate::lifecycle::{
    AuthorityVerified, Binding, Event, HoldPlaced, RequestProcess, Seat, Terms, Triaged, Verdict,
};
use crate::preservation::{HoldOrigin, PreservationProcess};
use crate::replay::parse_past_requests;
use crate::vocabulary::{AuthorityStatus, DataCategory, IssuerKind, Priority};
use crate::{Deadlines, Order, Outcome, Policy, RuleId as R};

const DOCUMENT: &str = include_str!("../../../../docs/legal-process.md");

const ORDER: &str = r#"{
  "forum": "DE", "instrument": "european-production-order",
  "legal_basis": "Regulation (EU) 2023/1543", "authority": "amtsgericht-berlin",
  "officer": "officer-weber", "issuer": "court", "validator": null, "reference": "2026/1",
  "offence": {"code": "fraud", "label": "sold phones", "maximum_years": 5},
  "case_type": "fraud", "subject_role": "suspect", "terms_violation": true,
  "priority": "routine", "threat": null, "issued_at": "2026-11-24T08:00:00Z",
  "valid_from": "2026-11-24T08:00:00Z", "valid_until": "2026-12-24T08:00:00Z", "gag_until": null,
  "documents": "0505050505050505050505050505050505050505050505050505050505050505",
  "scope": {"subjects": ["account-1"], "kinds": ["ip"], "purpose": "identify",
    "from": "2026-11-23T08:00:00Z", "to": "2026-11-23T08:10:00Z"}
}"#;

/// The order with one place changed, as it is refused.
fn order(from: &str, to: &str) -> String {
    let text = ORDER.replacen(from, to, 1);
    assert_ne!(text, ORDER, "{from}");
    Order::parse(&text).unwrap_err().to_string()
}

/// What a rule says of the lawful world with one thing changed.
fn rule(rule: R, change: impl FnOnce(&mut World)) -> String {
    of(rule, &World::changed(change))
}

fn of(rule: R, world: &World) -> String {
    assert!(!world.evaluate().permits());
    match world.outcome(rule) {
        Outcome::Fail { code, reason } => format!("{rule}: {reason} ({})", code.as_str()),
        Outcome::NeedsHuman { reason } => format!("{rule}: {reason} (needs a human)"),
        other => panic!("{rule}: {other:?}"),
    }
}

fn emergency(change: impl FnOnce(&mut World)) -> String {
    let mut world = World::emergency();
    change(&mut world);
    of(R::R21, &world)
}

fn traffic(rule: R, change: impl FnOnce(&mut World)) -> String {
    let mut world = World::traffic();
    change(&mut world);
    of(rule, &world)
}

fn point(address: &str, port: Option<u16>, shared: Option<bool>) -> String {
    let address = address.parse().unwrap();
    rule(R::R15, |w| {
        let at = Some(NOON);
        w.case.points = vec![AttributionPoint {
            address,
            port,
            at,
            shared,
        }];
    })
}

fn in_review() -> RequestProcess {
    let world = World::new();
    let law = world.policy.law().unwrap();
    let terms = law.instruments.values().next().unwrap();
    let terms = terms.terms(DataCategory::Identification).unwrap();
    let expires = Timestamp(NOON.0 + 30 * DAY);
    let clocks =
        Deadlines::new(&law.intake, terms, Priority::Routine, true, NOON, expires).unwrap();
    let binding = Binding::of(&world.request, SelectionId([4; 32]));
    let terms = Terms::new(&world.policy, [3, 3], 3, clocks);
    let mut process = RequestProcess::new(binding, name("clerk"), terms, NOON);
    let evaluation = world.evaluate();
    for event in [
        Event::IntakeLogged(HoldPlaced::of(&evaluation).unwrap()),
        Event::AuthorityVerified(AuthorityVerified::of(&evaluation).unwrap()),
        Event::Triaged(Triaged::of(&evaluation)),
    ] {
        process.apply(NOON, event).unwrap();
    }
    process
}

/// A decision after one by `person-workflow-1`, with one thing changed.
fn decision(change: impl FnOnce(&mut Verdict)) -> String {
    let mut process = in_review();
    let mut verdict = Verdict {
        seat: Seat::Committee(Role::Workflow, Slot::new(1).unwrap()),
        person: name("person-workflow-1"),
        binding: *process.binding(),
        decision: Decision::Approve,
    };
    process
        .apply(NOON, Event::Decided(verdict.clone()))
        .unwrap();
    verdict.seat = Seat::Committee(Role::LegalReview, Slot::new(1).unwrap());
    verdict.person = name("person-legal-1");
    change(&mut verdict);
    process
        .apply(NOON, Event::Decided(verdict))
        .unwrap_err()
        .to_string()
}

fn after_withdrawal() -> String {
    let mut process = in_review();
    process.apply(NOON, Event::Withdrawn).unwrap();
    let released = Event::Released(Role::Workflow, Slot::new(1).unwrap());
    process.apply(NOON, released).unwrap_err().to_string()
}

fn second_extension() -> String {
    let terms = shipped("EU").law().unwrap().preservation;
    let origin = HoldOrigin::Authority(name("amtsgericht-berlin"));
    let mut process = PreservationProcess::new(origin, terms, NOON);
    process.agree(NOON, name("anna")).unwrap();
    process.extend(NOON).unwrap();
    process.extend(NOON).unwrap_err().to_string()
}

fn other_policy_at_the_verifier() -> String {
    // The request pins the earlier version; the verifier holds the later one.
    let later = SHIPPED[0].1.replace("version = 1\n", "version = 2\n");
    let mut world = World::new();
    world.pins = Some(Policy::parse(&later).unwrap().digest());
    of(R::R28, &world)
}

fn time(text: &str) -> String {
    Timestamp::parse_rfc3339(text).unwrap_err().to_string()
}

fn country(text: &str) -> String {
    text.parse::<Jurisdiction>().unwrap_err().to_string()
}

fn identity() -> Vec<(&'static str, String)> {
    vec![
        (
            "unknown authority",
            rule(R::R01, |w| w.request.authority = name("ministry-of-truth")),
        ),
        (
            "suspended authority",
            rule(R::R01, |w| {
                w.case.authority.as_mut().unwrap().status = AuthorityStatus::Suspended;
            }),
        ),
        (
            "look-alike authority",
            rule(R::R01, |w| w.request.authority = name("amtsger1cht-berlin")),
        ),
        (
            "another authority's key",
            rule(R::R02, |w| {
                w.case.officer.as_mut().unwrap().authority = name("polizei-berlin");
            }),
        ),
        ("unsigned order", rule(R::R02, |w| w.case.document = None)),
        (
            "replayed order",
            rule(R::R20, |w| {
                let earlier = crate::case::EarlierFact {
                    authority: w.request.authority.clone(),
                    reference: w.request.reference.clone(),
                    scope: w.request.scope.clone(),
                    documents: w.request.documents,
                };
                w.case.earlier = Some(vec![earlier]);
            }),
        ),
        (
            "signature over another document, digest mismatch",
            rule(R::R07, |w| {
                w.case.document.as_mut().unwrap().digest = Digest([1; 32]);
            }),
        ),
        (
            "expired certificate",
            rule(R::R07, |w| {
                w.case.document.as_mut().unwrap().certificate_until = Timestamp(NOON.0 - 2 * DAY);
            }),
        ),
        ("self-approval", decision(|v| v.person = name("clerk"))),
        (
            "same person in two roles",
            decision(|v| v.person = name("person-workflow-1")),
        ),
        (
            "decision for an older generation",
            decision(|v| v.binding.generation = 0),
        ),
        (
            "decision for another scope",
            decision(|v| v.binding.request.0 = [1; 32]),
        ),
        (
            "decision for another selection",
            decision(|v| v.binding.selection.0 = [1; 32]),
        ),
        (
            "decision under another policy version",
            decision(|v| v.binding.forum_policy = Digest([1; 32])),
        ),
        (
            "decision for another recipient key",
            decision(|v| v.binding.recipient = Digest([1; 32])),
        ),
        (
            "quorum of one role only",
            rule(R::R26, |w| w.decisions.retain(|d| d.role == Role::Workflow)),
        ),
    ]
}

fn order_itself() -> Vec<(&'static str, String)> {
    vec![
        (
            "no legal basis",
            order("\"Regulation (EU) 2023/1543\"", "\"\""),
        ),
        (
            "unknown instrument",
            rule(R::R04, |w| w.case.order.instrument = name("a-letter")),
        ),
        (
            "prosecutor asks traffic",
            traffic(R::R06, |w| w.set_issuer(IssuerKind::Prosecutor)),
        ),
        (
            "validator missing",
            rule(R::R06, |w| w.set_issuer(IssuerKind::Police)),
        ),
        (
            "emergency for traffic",
            emergency(|w| w.request.purpose = Purpose::History),
        ),
        (
            "emergency without threat",
            emergency(|w| w.case.order.threat = None),
        ),
        (
            "emergency without call-back",
            emergency(|w| w.case.callback = None),
        ),
        (
            "not yet valid",
            rule(R::R07, |w| {
                w.case.order.valid_from = Timestamp(NOON.0 + HOUR)
            }),
        ),
        ("expired", rule(R::R07, |w| w.case.order.valid_until = NOON)),
        (
            "validity ends before it starts",
            order("2026-12-24T08:00:00Z", "2026-11-23T08:00:00Z"),
        ),
        (
            "window ends before it starts",
            order("2026-11-23T08:10:00Z", "2026-11-23T07:10:00Z"),
        ),
        (
            "window in the future",
            rule(R::R15, |w| w.request.scope[0].to.0 += 600),
        ),
        (
            "window unbounded",
            order(", \"to\": \"2026-11-23T08:10:00Z\"", ""),
        ),
        (
            "window of ten years",
            traffic(R::R15, |w| w.request.scope = vec![line(1, 5_256_000)]),
        ),
        ("10,000 subjects", {
            let many: Vec<String> = (0..10_000).map(|n| format!("\"{n:x}\"")).collect();
            order("\"account-1\"", &many.join(","))
        }),
        ("CIDR subject", order("account-1", "8.8.8.0/24")),
        ("wildcard subject", order("account-1", "account-*")),
        (
            "duplicate subject",
            order("\"account-1\"", "\"account-1\", \"account-1\""),
        ),
        ("request after withdrawal goes on", after_withdrawal()),
        ("second extension of a preservation", second_extension()),
        ("purpose missing", order("\"purpose\": \"identify\",", "")),
        (
            "offence such as insulting the state",
            rule(R::R12, |w| {
                w.offence().code = name("insulting-the-state");
            }),
        ),
        (
            "forum that does not reach",
            rule(R::R18, |w| {
                w.request.forum = code("US");
            }),
        ),
        (
            "conflicting forums",
            rule(R::R19, |w| {
                w.case.conflict = Some(crate::vocabulary::Conflict::Confirmed)
            }),
        ),
    ]
}

fn addresses_and_words() -> Vec<(&'static str, String)> {
    vec![
        (
            "address ::ffff:8.8.8.8",
            point("::ffff:8.8.8.8", Some(1), None),
        ),
        ("address 10.0.0.1", point("10.0.0.1", Some(1), None)),
        ("address 100.64.0.1", point("100.64.0.1", Some(1), None)),
        ("address 192.0.2.1", point("192.0.2.1", Some(1), None)),
        ("address 2001:db8::1", point("2001:db8::1", Some(1), None)),
        (
            "shared address without port",
            point("8.8.8.8", None, Some(true)),
        ),
        ("port 0", point("8.8.8.8", Some(0), None)),
        ("time without offset", time("2026-11-24T08:00:00")),
        ("leap second", time("2026-12-31T23:59:60Z")),
        ("year 0000", time("0000-01-01T00:00:00Z")),
        ("offset +14:01", time("2026-11-24T08:00:00+14:01")),
        ("country EU", country("EU")),
        ("country UK", country("UK")),
        ("country XK", country("XK")),
        ("country xx", country("xx")),
    ]
}

fn json_and_system() -> Vec<(&'static str, String)> {
    let past = |address: &str| {
        let text = include_str!("../../../../config/policies/past-requests.json");
        let points = format!("\"points\": [{{\"address\": \"{address}\"}}], \"protected\": []");
        let text = text.replacen("\"protected\": []", &points, 1);
        parse_past_requests(&text).unwrap_err().to_string()
    };
    let place = |text: String| text.split(" at line").next().unwrap_or_default().to_owned();
    vec![
        ("address 010.0.0.1", place(past("010.0.0.1"))),
        ("address 256.0.0.1", place(past("256.0.0.1"))),
        ("address fe80::1%eth0", place(past("fe80::1%eth0"))),
        (
            "port 65536",
            place({
                let text = include_str!("../../../../config/policies/past-requests.json");
                let points =
                    "\"points\": [{\"address\": \"8.8.8.8\", \"port\": 65536}], \"protected\": []";
                parse_past_requests(&text.replacen("\"protected\": []", points, 1))
                    .unwrap_err()
                    .to_string()
            }),
        ),
        (
            "JSON duplicate key",
            place(order(
                "\"issuer\": \"court\"",
                "\"issuer\": \"court\", \"issuer\": \"court\"",
            )),
        ),
        (
            "JSON deep nesting",
            place(order(
                "\"threat\": null",
                &format!("\"threat\": {}", "[".repeat(200)),
            )),
        ),
        (
            "JSON NaN",
            place(order("\"maximum_years\": 5", "\"maximum_years\": NaN")),
        ),
        ("JSON byte-order mark", order("{", "\u{feff}{")),
        (
            "JSON unknown field",
            place(order("\"forum\"", "\"vip\": true, \"forum\"")),
        ),
        (
            "JSON string of 64 KiB",
            order("sold phones", &"x".repeat(64 * 1024)),
        ),
        ("policy change in flight", other_policy_at_the_verifier()),
        ("acknowledgement of what was never disclosed", {
            let mut process = in_review();
            process.apply(NOON, Event::Withdrawn).unwrap();
            process
                .apply(NOON, Event::Acknowledged)
                .unwrap_err()
                .to_string()
        }),
        ("event from before the last one", {
            let mut process = in_review();
            process
                .apply(Timestamp(NOON.0 - 1), Event::Withdrawn)
                .unwrap_err()
                .to_string()
        }),
        (
            "policy quorum of one",
            Policy::parse(&SHIPPED[0].1.replace("workflow = 2", "workflow = 1"))
                .unwrap_err()
                .to_string(),
        ),
    ]
}

/// The document's table is what the code says, line by line.
#[test]
fn the_documents_table_is_what_the_code_says() {
    let mut table = String::from("| input | refusal |\n|---|---|\n");
    for (input, refusal) in identity()
        .into_iter()
        .chain(order_itself())
        .chain(addresses_and_words())
        .chain(json_and_system())
    {
        assert!(!refusal.is_empty(), "{input}");
        table.push_str(&format!("| {input} | {refusal} |\n"));
    }
    let begin = "<!-- bad input -->\n";
    let found = DOCUMENT
        .split_once(begin)
        .and_then(|(_, rest)| rest.split_once("<!-- end -->"));
    let stated = found.map(|(table, _)| table).unwrap_or_default();
    assert_eq!(
        stated, table,
        "docs/legal-process.md, \"Bad input\" must be:\n{table}"
    );
}

/// The document names every rule with its demand, every refusal code and every state.
#[test]
fn the_document_names_every_rule_code_and_state() {
    for rule in R::ALL {
        let row = format!("| {rule} | {} |", rule.demand());
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    for code in bailiwick_envelope::approval::RefusalCode::ALL {
        let row = format!("| `{}` |", code.as_str());
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    for state in crate::lifecycle::State::ALL {
        assert!(DOCUMENT.contains(&format!("`{state}`")), "{state}");
    }
}

/// Lines of "Bad input" that other crates refuse are tested there; the document says by which test.
#[test]
fn tests_elsewhere_that_the_document_names_exist() {
    let begin = "<!-- elsewhere -->\n";
    let (_, rest) = DOCUMENT.split_once(begin).unwrap();
    let (rows, _) = rest.split_once("<!-- end -->").unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for row in rows.lines().filter(|row| row.contains('`')) {
        let mut quoted = row.split('`').skip(1).step_by(2);
        let (file, function) = (quoted.next().unwrap(), quoted.next().unwrap());
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(
            text.contains(&format!("fn {function}(")),
            "{file} has no {function}"
        );
        count += 1;
    }
    assert!(count >= 5, "{count} rows");
}
