//! Who calls: one list of authenticators, each of which knows one kind of credential.
