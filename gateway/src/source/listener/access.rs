//! Who may publish and subscribe where.

use tidegate_rules::topic::{TopicFilter, covers};

use crate::config::User;

/// The topics one client may use.
#[derive(Debug, Clone, Default)]
pub struct TopicAccess {
    /// `None`: everything, for an anonymous listener.
    filters: Option<GrantedFilters>,
}

#[derive(Debug, Clone)]
struct GrantedFilters {
    publish: Vec<TopicFilter>,
    subscribe: Vec<String>,
}

impl TopicAccess {
    /// Everything.
    pub fn anonymous() -> TopicAccess {
        TopicAccess { filters: None }
    }

    /// What the configuration grants `user` connected as `client`.
    ///
    /// # Errors
    /// When a name that stands for `{user}` or `{client}` holds a wildcard or a level separator:
    /// it would widen the grant (CVE-2017-7650).
    pub fn of(user: &User, client: &str) -> Result<TopicAccess, &'static str> {
        let expand = |filters: &[String]| -> Result<Vec<String>, &'static str> {
            filters
                .iter()
                .map(|filter| expand_placeholders(filter, &user.name, client))
                .collect()
        };
        let publish = expand(&user.publish)?;
        Ok(TopicAccess {
            filters: Some(GrantedFilters {
                publish: publish
                    .iter()
                    .filter_map(|f| TopicFilter::parse(f).ok())
                    .collect(),
                subscribe: expand(&user.subscribe)?,
            }),
        })
    }

    /// Whether an event may be published under `topic`.
    pub fn may_publish(&self, topic: &str) -> bool {
        match &self.filters {
            None => true,
            Some(filters) => filters.publish.iter().any(|filter| filter.matches(topic)),
        }
    }

    /// Whether `filter` may be subscribed to: some granted filter must cover all of it.
    pub fn may_subscribe(&self, filter: &str) -> bool {
        match &self.filters {
            None => true,
            Some(filters) => filters.subscribe.iter().any(|grant| covers(grant, filter)),
        }
    }
}

fn expand_placeholders(filter: &str, user: &str, client: &str) -> Result<String, &'static str> {
    for (place, name) in [("{user}", user), ("{client}", client)] {
        if filter.contains(place) && name.contains(['+', '#', '/']) {
            return Err(
                "a user name or client id with +, # or / cannot stand in a topic permission",
            );
        }
    }
    Ok(filter.replace("{user}", user).replace("{client}", client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_granted_only_where_all_of_it_is_covered() {
        for (grant, filter, expected) in [
            ("plant/#", "plant/a/b", true),
            ("plant/#", "plant/+/b", true),
            ("plant/#", "#", false),
            ("plant/+", "plant/a", true),
            ("plant/+", "plant/#", false),
            ("plant/+", "plant/a/b", false),
            ("plant/a", "plant/+", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("+/x", "+/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("a/b", "a/b", true),
        ] {
            assert_eq!(covers(grant, filter), expected, "{grant} covers {filter}");
        }
    }

    #[test]
    fn a_client_id_with_a_wildcard_cannot_widen_a_grant() {
        let user = User {
            name: "press".into(),
            password_hash: crate::config::secret::Secret::new(""),
            bearer_hash: None,
            publish: vec!["plant/{client}/#".into()],
            subscribe: vec![],
        };
        assert!(TopicAccess::of(&user, "#").is_err());
        let access = TopicAccess::of(&user, "p7").expect("a plain name");
        assert!(access.may_publish("plant/p7/temp") && !access.may_publish("plant/p8/temp"));
    }
}
