//! Names of users of this machine, for people.

use std::fs;

/// Users of the machine itself. Those of a directory service are not in it; they are shown by number.
const USERS: &str = "/etc/passwd";

/// The name of a user, or `uid 1000` for one that the machine itself does not know.
pub fn user_name(uid: u32) -> String {
    let users = fs::read_to_string(USERS).unwrap_or_default();
    name_in(&users, uid).map_or_else(|| format!("uid {uid}"), str::to_owned)
}

/// Lines of `name:password:uid:…` (passwd(5)).
fn name_in(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_numbers() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\n# no user\npi:x:1000:1000:,,,:/home/pi:/bin/sh\n::7:7\nselvedge:x:998:998::/:\n";
        for (uid, name) in
            [(0, Some("root")), (1000, Some("pi")), (998, Some("selvedge")), (7, None), (1, None)]
        {
            assert_eq!(name_in(users, uid), name);
        }
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_000), "uid 4000000000");
    }
}
