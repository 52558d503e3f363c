//! The five worked examples as they are shipped: they parse, are marked, and say what the notes of
//! docs/legal-process.md say; and every way in which their sections can be spoilt is refused.

use super::world::{SHIPPED, shipped};
use crate::vocabulary::{DataCategory, IssuerKind};
use crate::{Policy, RuleId};

#[test]
fn the_five_are_illustrative_complete_and_marked() {
    for (name, _) in SHIPPED {
        let policy = shipped(name);
        assert!(
            policy
                .illustrative()
                .is_some_and(|text| text.contains("not legal advice")),
            "{name}"
        );
        assert_eq!(policy.rules().len(), RuleId::ALL.len(), "{name}");
        assert!(policy.quorum().rights_panel.is_some(), "{name}");
        assert!(!policy.unverified().is_empty(), "{name}");
        assert!(!policy.sources().is_empty(), "{name}");
        let law = policy.law().unwrap();
        assert!(
            law.preservation.quorum < policy.quorum().workflow,
            "{name}: preservation is lighter"
        );
        for category in DataCategory::ALL {
            let reached = law
                .instruments
                .values()
                .any(|one| one.terms(*category).is_some());
            assert!(reached, "{name} {category}");
        }
    }
    assert_eq!(shipped("EU").jurisdiction().as_str(), "DE");
    assert_eq!(shipped("EU").family(), Some("EU"));
    assert_eq!(shipped("GB").jurisdiction().as_str(), "GB");
}

/// What nobody verified carries its mark: these paths are unverified in the sources that the
/// examples rest on.
#[test]
fn unverified_facts_are_marked() {
    for (name, paths) in [
        ("EU", &["notice.inform_subject"][..]),
        (
            "FR",
            &[
                "instruments.requisition.identification.issuers",
                "instruments.requisition.legal_bases",
            ],
        ),
        (
            "US",
            &[
                "instruments.subpoena.identification.issuers",
                "instruments.subpoena.identification.deadline_hours",
                "preservation",
                "notice.gag_max_days",
                "report.band",
            ],
        ),
        ("GB", &["preservation", "retention"]),
        (
            "AE",
            &[
                "instruments.court-order.identification.issuers",
                "instruments.court-order.traffic.deadline_hours",
                "retention",
                "preservation",
            ],
        ),
    ] {
        let policy = shipped(name);
        for path in paths {
            assert!(policy.unverified().contains(*path), "{name}: {path}");
        }
    }
}

/// The facts that are sourced, as figures.
#[test]
fn the_european_figures() {
    let policy = shipped("EU");
    let law = policy.law().unwrap();
    let order = law.instruments.values().next().unwrap();
    let (identification, traffic) = (
        order.terms(DataCategory::Identification).unwrap(),
        order.terms(DataCategory::Traffic).unwrap(),
    );
    assert_eq!(identification.deadline_hours, 10 * 24);
    assert_eq!(identification.emergency_hours, Some(8));
    assert_eq!(identification.validate_within_hours, Some(48));
    assert!(identification.issuers.contains(&IssuerKind::Prosecutor));
    assert!(!traffic.issuers.contains(&IssuerKind::Prosecutor));
    assert_eq!(traffic.minimum_offence_years, Some(3));
    let notify = traffic.notify.unwrap();
    assert_eq!((notify.window_hours, notify.objection_hours), (240, 96));
    assert_eq!(
        (
            law.preservation.initial_days,
            law.preservation.extension_days
        ),
        (60, 30)
    );
    assert_eq!(policy.in_force().to_string(), "2026-08-18T00:00:00Z");
    let fr = shipped("FR");
    let kept = fr.law().unwrap().retention;
    assert_eq!((kept.ip.min_days, kept.phone.min_days), (365, 5 * 365));
    assert!(shipped("AE").law().unwrap().safeguards.escalate_every_case);
}

#[test]
fn spoilt_sections_are_refused_with_field_and_reason() {
    let text = SHIPPED[0].1;
    for (from, to, expected) in [
        ("rights-panel = 2", "rights-panel = 1", "quorum"),
        ("rights-panel = 2", "rights-panel = 0", "quorum"),
        (
            "deadline_hours = 240",
            "deadline_hours = 0",
            "subscriber.deadline_hours",
        ),
        (
            "emergency_hours = 8",
            "emergency_hours = 241",
            "emergency_hours",
        ),
        ("emergency_hours = 8\n", "", "validate_within_hours"),
        ("window_hours = 240", "window_hours = 0", "notify"),
        (
            "max_subjects = 5",
            "max_subjects = 0",
            "traffic.max_subjects",
        ),
        (
            "max_window_minutes = 262800",
            "max_window_minutes = 0",
            "max_window_minutes",
        ),
        (
            "minimum_offence_years = 3",
            "minimum_offence_years = 0",
            "minimum_offence_years",
        ),
        (
            "correct_within_hours = 120",
            "correct_within_hours = 0",
            "intake",
        ),
        (
            "emergencies_per_officer_day = 2",
            "emergencies_per_officer_day = 0",
            "intake",
        ),
        ("initial_days = 60", "initial_days = 0", "preservation"),
        ("\nquorum = 1", "\nquorum = 0", "preservation.quorum"),
        ("max_days = 180", "max_days = 0", "retention.ip"),
        ("band = 1", "band = 0", "report.band"),
        ("gag_max_days = 365", "gag_max_days = 4294967295", "notice"),
        ("\"prosecutor\"", "\"sheriff\"", "sheriff"),
        ("\"political_offence\"", "\"because\"", "because"),
        ("never = []", "never = [\"DE\"]", "reach.never"),
        ("[report]", "[reports]", "reports"),
        ("max_identify_minutes = 60\n", "", "max_identify_minutes"),
        (
            "  \"notice.gag_max_days\",",
            "  \"notice.gag_max\",",
            "unverified",
        ),
        (
            "[notice]\ninform_subject = false\ngag_max_days = 365\n",
            "",
            "notice",
        ),
        (
            "label = \"European Production Order\"",
            "label = \" \"",
            "instruments",
        ),
    ] {
        let spoilt = text.replacen(from, to, 1);
        assert_ne!(spoilt, text, "{from}");
        let error = Policy::parse(&spoilt).unwrap_err().to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
    let minimal = include_str!("../../../../config/policies/minimal.toml");
    assert!(Policy::parse(minimal).unwrap().law().is_none());
    let alone = format!("{minimal}\n[report]\nband = 1\nsuppress_below = 0\n");
    assert!(
        Policy::parse(&alone)
            .unwrap_err()
            .to_string()
            .contains("report")
    );
}

/// Empty lists permit nobody and nothing.
#[test]
fn empty_lists_deny() {
    use super::world::World;
    let text = SHIPPED[0].1;
    for (from, to) in [
        (
            "kinds = [\"phone\", \"ip\"]\npurposes = [\"identify\"]",
            "kinds = []\npurposes = [\"identify\"]",
        ),
        (
            "kinds = [\"phone\", \"ip\"]\npurposes = [\"identify\"]",
            "kinds = [\"phone\", \"ip\"]\npurposes = []",
        ),
        (
            "legal_bases = [\"Regulation (EU) 2023/1543\"]",
            "legal_bases = []",
        ),
        ("reach = [\"DE\", \"FR\"]", "reach = []"),
        ("forums = [\"DE\"]", "forums = []"),
        (
            "authorities = [\"staatsanwaltschaft-berlin\", \"amtsgericht-berlin\", \"polizei-berlin\"]",
            "authorities = []",
        ),
        ("\nkinds = [\"phone\", \"ip\"]\n\n#", "\nkinds = []\n\n#"),
    ] {
        let emptied = text.replace(from, to);
        assert_ne!(emptied, text, "{from}");
        let policy = Policy::parse(&emptied).unwrap();
        let evaluation = World::new().evaluate_under(&policy);
        assert!(!evaluation.permits(), "{to}");
    }
    let issuers = text.replace("issuers = [\"judge\", \"court\", \"investigating-judge\", \"prosecutor\"]\nvalidated_others = true", "issuers = []\nvalidated_others = true");
    let policy = Policy::parse(&issuers).unwrap();
    assert!(!World::new().evaluate_under(&policy).permits());
}
