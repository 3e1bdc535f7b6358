//! Plain types: the words the rest of the house is written in. No I/O, no clocks, no configuration.

pub mod api;
pub mod charge;
pub mod decision;
pub mod entity;
pub mod fields;
pub mod glob;
pub mod grant;
pub mod hold;
pub mod identity;
pub mod ids;
pub mod memo;
pub mod money;
pub mod peer;
pub mod period;
pub mod record;
pub mod role;
pub mod scope;
pub mod secret;
pub mod time;
pub mod trace;
pub mod usage;
pub mod user_session;

pub use api::{Api, PromptSize};
pub use charge::{Amount, Charge, CounterKey, Kind, Limit, Window};
pub use decision::{Allow, Decision, Denial, ErrorType, Standing};
pub use entity::{
    AccessGroup, Budget, BudgetWindow, DeprecatedKey, EndUser, Key, KeyMapping, KeyType, Limits, Member, ModelBudget,
    ObjectPermission, Organization, OrganizationMember, Project, Tag, Team, User,
};
pub use fields::Fields;
pub use grant::Grant;
pub use hold::{Amounts, Binding, Hold, Progress};
pub use identity::{AuthMethod, Caller, Identity, Principal};
pub use ids::{HoldId, KeyHash};
pub use memo::Memo;
pub use money::{Money, Price};
pub use peer::{PeerPattern, PeerText};
pub use period::{BudgetDuration, Calendar, Period};
pub use record::{Account, Parties, Record, RecordStatus};
pub use role::{Role, TeamRole};
pub use scope::{Scope, ScopeKind};
pub use secret::Secret;
pub use time::Timestamp;
pub use trace::{Step, Trace};
pub use usage::{Helper, Usage};
pub use user_session::{SessionKey, UserSession};
