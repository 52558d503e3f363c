//! The words of orders and policies as types: who issues, what kind of case, which category of data
//! the law sees. Files write them in kebab case; an unknown word is refused where it is read.
//!
//! The case types are those of ETSI TS 103 120 (`AuthorisationTypeOfCase`).

use bailiwick_envelope::request::{Purpose, ScopeLine};
use bailiwick_types::Category;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word used in files.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What the law calls the data asked for; ascending by how far it reaches into a life. It is
    /// derived from purpose and scope ([`DataCategory::of`]), never a property of a record.
    DataCategory {
        /// Who a user is: the phone number.
        Subscriber = "subscriber",
        /// An address, port and instant asked only to identify the user behind them.
        Identification = "identification",
        /// A history of addresses.
        Traffic = "traffic",
    }
}

impl DataCategory {
    /// The furthest-reaching category of a scope. An IP window longer than `identify_minutes` is a
    /// history whatever purpose is stated, and an empty scope is treated as the worst.
    pub fn of(purpose: Purpose, scope: &[ScopeLine], identify_minutes: u32) -> Self {
        let category = |line: &ScopeLine| {
            let minutes = line.to.0.saturating_sub(line.from.0);
            if !line.categories.contains(&Category::Ip) {
                Self::Subscriber
            } else if purpose == Purpose::History || minutes > identify_minutes {
                Self::Traffic
            } else {
                Self::Identification
            }
        };
        scope.iter().map(category).max().unwrap_or(Self::Traffic)
    }
}

words! {
    /// The role in which somebody issues or validates an order.
    IssuerKind {
        /// A judge.
        Judge = "judge",
        /// A court.
        Court = "court",
        /// An investigating judge.
        InvestigatingJudge = "investigating-judge",
        /// A public prosecutor.
        Prosecutor = "prosecutor",
        /// A police officer.
        Police = "police",
        /// Another agency of the state.
        Agency = "agency",
        /// A grand jury.
        GrandJury = "grand-jury",
        /// A body that authorises for others without belonging to them.
        IndependentAuthoriser = "independent-authoriser",
        /// A central authority for mutual legal assistance.
        CentralAuthority = "central-authority",
    }
}

words! {
    /// How far an authority's enrolment has come.
    AuthorityStatus {
        /// Entered by one person, not yet confirmed by a second.
        Pending = "pending",
        /// May act.
        Active = "active",
        /// May not act for now.
        Suspended = "suspended",
        /// May never act again.
        Revoked = "revoked",
    }
}

words! {
    /// How urgent an order is. An emergency shortens timers, never quorums.
    Priority {
        /// The ordinary case.
        Routine = "routine",
        /// Asked to be handled first; the timers are the ordinary ones.
        High = "high",
        /// A threat to life, under the policy's emergency path.
        Emergency = "emergency",
    }
}

words! {
    /// The subject's part in the case, as the order states it.
    SubjectRole {
        /// Suspected of the offence.
        Suspect = "suspect",
        /// Formally accused.
        Accused = "accused",
        /// Convicted; the order serves the execution of a sentence.
        Convicted = "convicted",
        /// Harmed by the offence, or missing.
        Victim = "victim",
        /// May have seen something.
        Witness = "witness",
        /// The order does not say.
        Unstated = "unstated",
    }
}

words! {
    /// Whose life is threatened in an emergency.
    VictimClass {
        /// A child.
        Child = "child",
        /// One or more known persons.
        KnownPerson = "known-person",
        /// The public.
        Public = "public",
        /// The user.
        Subject = "subject",
    }
}

words! {
    /// What kind of case it is (ETSI TS 103 120).
    CaseType {
        /// Child sexual abuse or exploitation.
        ChildExploitation = "child-exploitation",
        /// Corruption.
        Corruption = "corruption",
        /// Cybercrime.
        Cybercrime = "cybercrime",
        /// Defamation.
        Defamation = "defamation",
        /// Drugs.
        Drugs = "drugs",
        /// Harassment or a threat to personal safety.
        Harassment = "harassment",
        /// Hate speech.
        HateSpeech = "hate-speech",
        /// Human trafficking.
        HumanTrafficking = "human-trafficking",
        /// A missing person.
        MissingPerson = "missing-person",
        /// Money laundering.
        MoneyLaundering = "money-laundering",
        /// Other financial crime or fraud.
        Fraud = "fraud",
        /// Sexual abuse or exploitation.
        SexualAbuse = "sexual-abuse",
        /// Theft.
        Theft = "theft",
        /// Terrorism or a threat to public safety.
        Terrorism = "terrorism",
        /// Violence or a crime against a person.
        Violence = "violence",
        /// Another kind.
        Other = "other",
        /// The order does not say.
        NotSpecified = "not-specified",
    }
}

words! {
    /// Whom a rule of law protects beyond others.
    ProtectedSubject {
        /// A journalist or a journalist's source.
        Journalist = "journalist",
        /// A lawyer.
        Lawyer = "lawyer",
        /// A member of a parliament.
        MemberOfParliament = "member-of-parliament",
        /// A refugee or asylum seeker.
        Refugee = "refugee",
        /// A non-governmental organisation or its staff.
        NonGovernmental = "non-governmental",
    }
}

words! {
    /// Which way an instrument takes to the provider.
    Route {
        /// From the issuing authority to the provider.
        Direct = "direct",
        /// Only through mutual legal assistance.
        MutualLegalAssistance = "mutual-legal-assistance",
    }
}

words! {
    /// What the law of a third country says about the disclosure.
    Conflict {
        /// Looked at; nothing stands against it.
        None = "none",
        /// Somebody must weigh it.
        Possible = "possible",
        /// A third country's law forbids it.
        Confirmed = "confirmed",
    }
}
