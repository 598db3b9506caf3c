//! The roles of a room's members, and what each permits.

/// What a member is in a room. The higher ones may do what the lower ones may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Listens.
    Guest,
    /// Sends.
    Member,
    /// Invites and moderates.
    Admin,
    /// Deletes the room and makes admins.
    Owner,
}

/// What somebody may do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Enter it and get what is said.
    Join,
    /// Say something.
    Send,
    /// Bring others in.
    Invite,
    /// Kick, ban, mute, change the room, delete what others have said.
    Moderate,
}

impl Role {
    /// All roles, lowest first, with what they are called.
    pub const ALL: [(&str, Role); 4] =
        [("guest", Role::Guest), ("member", Role::Member), ("admin", Role::Admin), ("owner", Role::Owner)];

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.iter().find(|(n, _)| *n == name).map(|(_, role)| *role)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        Role::ALL[self as usize].0
    }

    /// Whether those in this role may do that.
    pub fn may(self, permission: Permission) -> bool {
        self >= match permission {
            Permission::Join => Role::Guest,
            Permission::Send => Role::Member,
            Permission::Invite | Permission::Moderate => Role::Admin,
        }
    }
}
