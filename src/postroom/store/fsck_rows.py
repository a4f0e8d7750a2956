"""The invariants of a shard's rows, one query each.

Invariants: a query gives (account or NULL, what is wrong) for every row that breaks its rule, and nothing on a sound shard. An
account that is being removed (``leaving``) is between two states: it is left out.

It must not know: files, octets, how findings are shown or mended.
"""

# ruff: noqa: S608 - every query is made of constants of this file

from __future__ import annotations

from typing import Final

_STAYING: Final = "account NOT IN (SELECT id FROM account WHERE leaving)"

_RECOUNT: Final = (
    "SELECT account, mailbox, count(*) AS messages, sum(flags & 1 = 0) AS unseen, sum(flags & 8 != 0) AS deleted, "
    "sum(size) AS octets FROM entry GROUP BY account, mailbox"
)

GAPS: Final = """
    SELECT account, mailbox, before + 1 AS first, uid - 1 AS last FROM (
        SELECT account, mailbox, uid, lag(uid, 1, 0) OVER (PARTITION BY account, mailbox ORDER BY uid) AS before FROM entry
    ) WHERE uid > before + 1
    UNION ALL
    SELECT m.account, m.id, top + 1, m.uid_next - 1 FROM (
        SELECT account, id, uid_next,
            ifnull((SELECT max(uid) FROM entry e WHERE e.account = b.account AND e.mailbox = b.id), 0) AS top FROM mailbox b
    ) m WHERE m.uid_next - 1 > top
"""
"""(account, mailbox, first, last) of every run of missing UIDs: what ``hole`` must hold."""

CONTENT_USES: Final = """
    SELECT content, count(*) AS refs FROM (
        SELECT content FROM message UNION ALL SELECT content FROM queue_message
    ) GROUP BY content
"""
MESSAGE_USES: Final = (
    "SELECT account << 32 | message AS key, count(*) AS entries FROM entry GROUP BY account, message"
)

ROW_CHECKS: Final[tuple[tuple[str, str], ...]] = (
    # --- references
    (
        "orphan",
        (
            "SELECT account, 'mailbox ' || id || ' belongs to no account' FROM mailbox "
            "WHERE account NOT IN (SELECT id FROM account)"
        ),
    ),
    (
        "orphan",
        (
            "SELECT account, 'subscription to ' || name || ' belongs to no account' FROM subscription "
            "WHERE account NOT IN (SELECT id FROM account)"
        ),
    ),
    (
        "orphan",
        (
            "SELECT DISTINCT account, 'entries in mailbox ' || mailbox || ', which "
            "is not there or takes none' FROM entry e "
            f"WHERE {_STAYING} AND NOT EXISTS "
            "(SELECT 1 FROM mailbox m WHERE m.account = e.account AND m.id = e.mailbox AND m.selectable)"
        ),
    ),
    *(
        (
            "orphan",
            (
                f"SELECT DISTINCT account, '{table} of mailbox ' || mailbox || ', which is not there' FROM {table} t "
                "WHERE mailbox != 0 AND NOT EXISTS "
                "(SELECT 1 FROM mailbox m WHERE m.account = t.account AND m.id = t.mailbox)"
            ),
        )
        for table in ("hole", "keyword", "change")
    ),
    (
        "no message",
        (
            "SELECT account, 'UID ' || uid || ' of mailbox ' || mailbox || ' has "
            "no message ' || message FROM entry e "
            "WHERE NOT EXISTS (SELECT 1 FROM message x WHERE x.key = (e.account << 32 | e.message))"
        ),
    ),
    (
        "no content",
        (
            "SELECT key >> 32, 'message ' || (key & 0xFFFFFFFF) || ' has no content' FROM message "
            "WHERE content NOT IN (SELECT id FROM content)"
        ),
    ),
    (
        "no content",
        (
            "SELECT submitter, 'queued message ' || id || ' has no content' FROM queue_message "
            "WHERE content NOT IN (SELECT id FROM content)"
        ),
    ),
    (
        "unused",
        (
            "SELECT key >> 32, 'message ' || (key & 0xFFFFFFFF) || ' is in no mailbox' FROM message "
            f"WHERE key NOT IN (SELECT key FROM ({MESSAGE_USES}))"
        ),
    ),
    (
        "unused",
        (
            "SELECT NULL, 'content ' || id || ' is nobody''s' FROM content WHERE "
            f"id NOT IN (SELECT content FROM ({CONTENT_USES}))"
        ),
    ),
    (
        "share",
        (
            "SELECT coalesce(u.key, s.key) >> 32, 'message ' || (coalesce(u.key, "
            "s.key) & 0xFFFFFFFF) || ' is in ' || "
            f"ifnull(u.entries, 0) || ' entries, counted ' || ifnull(s.entries, 1) FROM ({MESSAGE_USES}) u "
            "FULL JOIN message_share s ON s.key = u.key WHERE ifnull(u.entries, 0) "
            "!= ifnull(s.entries, 1) OR s.entries < 2"
        ),
    ),
    (
        "share",
        (
            "SELECT NULL, 'content ' || coalesce(u.content, s.content) || ' is used ' || ifnull(u.refs, 0) || "
            f"' times, counted ' || ifnull(s.refs, 1) FROM ({CONTENT_USES}) u "
            "FULL JOIN content_share s ON s.content = u.content WHERE "
            "ifnull(u.refs, 0) != ifnull(s.refs, 1) OR s.refs < 2"
        ),
    ),
    # --- counters
    (
        "counter",
        (
            "SELECT m.account, 'mailbox ' || m.id || ' counts ' || "
            "format('%d/%d/%d/%d', m.messages, m.unseen, m.deleted, m.octets) "
            "|| ', has ' || format('%d/%d/%d/%d', e.messages, e.unseen, e.deleted, e.octets) "
            f"|| ' (messages/unseen/deleted/octets)' FROM mailbox m LEFT JOIN ({_RECOUNT}) e "
            "ON e.account = m.account AND e.mailbox = m.id WHERE (m.messages, m.unseen, m.deleted, m.octets) IS NOT "
            "(ifnull(e.messages, 0), ifnull(e.unseen, 0), ifnull(e.deleted, 0), ifnull(e.octets, 0))"
        ),
    ),
    (
        "counter",
        (
            "SELECT a.id, format('account counts %d messages of %d octets, has %d "
            "of %d', a.messages, a.octets, e.n, e.octets) "
            "FROM account a LEFT JOIN (SELECT account, count(*) AS n, sum(size) AS "
            "octets FROM entry GROUP BY account) e "
            "ON e.account = a.id WHERE NOT a.leaving "
            "AND (a.messages, a.octets) IS NOT (ifnull(e.n, 0), ifnull(e.octets, 0))"
        ),
    ),
    (
        "flags",
        (
            "SELECT account, format('UID %d of mailbox %d has flags %d, unseen %d, deleted %d', uid, mailbox, flags, "
            "unseen, deleted) FROM entry WHERE (unseen, deleted) IS NOT (~flags & 1, flags >> 3 & 1)"
        ),
    ),
    (
        "size",
        (
            "SELECT e.account, format('UID %d of mailbox %d has size %d, its "
            "octets %d', e.uid, e.mailbox, e.size, c.size) "
            "FROM entry e JOIN message x ON x.key = (e.account << 32 | e.message) JOIN content c ON c.id = x.content "
            "WHERE e.size != c.size"
        ),
    ),
    # --- numbers that only rise
    (
        "uid",
        (
            "SELECT e.account, format('UID %d of mailbox %d is not below the next "
            "one, %d', e.uid, e.mailbox, m.uid_next) "
            "FROM entry e JOIN mailbox m ON m.account = e.account AND m.id = "
            "e.mailbox WHERE e.uid >= m.uid_next OR e.uid < 1"
        ),
    ),
    (
        "uid",
        (
            "SELECT account, format('mailbox %d has recent_from %d, uid_next %d', "
            "id, recent_from, uid_next) FROM mailbox "
            "WHERE recent_from > uid_next OR recent_from < 1 OR uid_next < 1"
        ),
    ),
    (
        "uid",
        (
            "SELECT m.account, format('mailbox %d has UIDVALIDITY %d, the last one "
            "given was %d', m.id, m.uid_validity, "
            "a.last_uid_validity) FROM mailbox m JOIN account a ON a.id = m.account "
            "WHERE m.uid_validity > a.last_uid_validity OR m.uid_validity < 1"
        ),
    ),
    (
        "uid",
        (
            "SELECT account, 'UIDVALIDITY ' || uid_validity || ' belongs to several mailboxes' FROM mailbox "
            "GROUP BY account, uid_validity HAVING count(*) > 1"
        ),
    ),
    (
        "number",
        (
            "SELECT a.id, 'mailbox ' || max(m.id) || ' is not below the next one' FROM account a JOIN mailbox m "
            "ON m.account = a.id GROUP BY a.id HAVING max(m.id) >= a.next_mailbox"
        ),
    ),
    (
        "number",
        (
            "SELECT a.id, 'message ' || max(e.message) || ' is not below the next one' FROM account a JOIN entry e "
            "ON e.account = a.id GROUP BY a.id HAVING max(e.message) >= a.next_message"
        ),
    ),
    (
        "modseq",
        (
            "SELECT e.account, format('UID %d of mailbox %d: created %d, modseq "
            "%d, mailbox %d, account %d', e.uid, e.mailbox, "
            "e.created, e.modseq, m.highest_modseq, a.modseq) FROM entry e JOIN account a ON a.id = e.account "
            "JOIN mailbox m ON m.account = e.account AND m.id = e.mailbox WHERE NOT "
            "(m.created <= e.created AND e.created <= e.modseq AND e.modseq <= "
            "m.highest_modseq AND m.highest_modseq <= a.modseq)"
        ),
    ),
    (
        "modseq",
        (
            "SELECT m.account, format('mailbox %d: created %d, highest %d, account "
            "%d', m.id, m.created, m.highest_modseq, a.modseq) "
            "FROM mailbox m JOIN account a ON a.id = m.account WHERE NOT "
            "(m.created <= m.highest_modseq AND m.highest_modseq <= a.modseq)"
        ),
    ),
    (
        "modseq",
        (
            "SELECT id, format('account: floor %d, modseq %d', floor, modseq) FROM "
            "account WHERE floor > modseq OR floor < 0"
        ),
    ),
    (
        "modseq",
        (
            "SELECT account, format('UID %d of mailbox %d was added before a lower one', uid, mailbox) FROM ("
            "SELECT account, mailbox, uid, created, lag(created, 1, 0) OVER "
            "(PARTITION BY account, mailbox ORDER BY uid) AS before "
            "FROM entry) WHERE created < before"
        ),
    ),
    # --- holes and the log
    (
        "hole",
        (
            "SELECT account, format('mailbox %d lacks UIDs %d to %d, and no hole "
            f"says so', mailbox, first, last) FROM ({GAPS} "
            f"EXCEPT SELECT account, mailbox, first, last FROM hole) WHERE {_STAYING}"
        ),
    ),
    (
        "hole",
        (
            "SELECT account, format('mailbox %d has a hole from %d to %d that is none', mailbox, first, last) FROM ("
            f"SELECT account, mailbox, first, last FROM hole EXCEPT SELECT * FROM ({GAPS})) WHERE {_STAYING}"
        ),
    ),
    (
        "change",
        (
            "SELECT c.account, format('change %d.%d of mailbox %d lies outside %d "
            "to %d', c.modseq, c.n, c.mailbox, a.floor + 1, "
            "a.modseq) FROM change c JOIN account a ON a.id = c.account WHERE "
            "c.modseq > a.modseq OR c.modseq <= a.floor"
        ),
    ),
    (
        "change",
        (
            "SELECT e.account, format('UID %d of mailbox %d: its adding is not in "
            "the log', e.uid, e.mailbox) FROM entry e "
            "JOIN account a ON a.id = e.account WHERE e.created > a.floor AND NOT "
            "a.leaving AND NOT EXISTS (SELECT 1 FROM change c "
            "WHERE c.account = e.account AND c.mailbox = e.mailbox AND c.modseq = e.created AND c.kind = 1 "
            "AND e.uid BETWEEN c.uid AND c.last)"
        ),
    ),
    (
        "change",
        (
            "SELECT e.account, format('UID %d of mailbox %d: its flag change is "
            "not in the log', e.uid, e.mailbox) FROM entry e "
            "JOIN account a ON a.id = e.account WHERE e.modseq > e.created AND e.modseq > a.floor AND NOT a.leaving "
            "AND NOT EXISTS (SELECT 1 FROM change c WHERE c.account = e.account AND c.mailbox = e.mailbox "
            "AND c.modseq = e.modseq AND c.kind = 2 AND e.uid BETWEEN c.uid AND c.last)"
        ),
    ),
    (
        "change",
        (
            "SELECT c.account, format('UID %d of mailbox %d is there, the log says "
            "it has gone', c.uid, c.mailbox) FROM change c "
            "JOIN entry e ON e.account = c.account AND e.mailbox = c.mailbox AND e.uid = c.uid WHERE c.kind = 3"
        ),
    ),
    (
        # Once the log has been cut, what went before the cut has no row any more and cannot be told from damage.
        "change",
        (
            "SELECT g.account, format('mailbox %d lacks %d UIDs, the log knows of "
            "%d', g.mailbox, g.gone, g.logged) FROM ("
            "SELECT h.account, h.mailbox, sum(h.last - h.first + 1) AS gone, (SELECT count(*) FROM change c "
            "WHERE c.account = h.account AND c.mailbox = h.mailbox AND c.kind = 3) AS logged FROM hole h "
            "GROUP BY h.account, h.mailbox) g JOIN account a ON a.id = g.account "
            "WHERE NOT a.leaving AND (g.logged > g.gone OR (a.floor = 0 AND g.logged != g.gone))"
        ),
    ),
    # --- content
    (
        "content",
        (
            "SELECT NULL, 'content ' || id || ' has both octets and a file, or neither' FROM content "
            "WHERE (octets IS NULL) = (file IS NULL)"
        ),
    ),
    (
        "content",
        (
            "SELECT NULL, format('content %d has size %d, its octets %d', id, size, length(octets)) FROM content "
            "WHERE length(octets) != size"
        ),
    ),
    (
        "facts",
        (
            "SELECT x.key >> 32, 'message ' || (x.key & 0xFFFFFFFF) || ' has no facts' FROM message x "
            "JOIN content c ON c.id = x.content WHERE c.structure IS NULL OR c.envelope IS NULL"
        ),
    ),
    # --- mailboxes
    (
        "mailbox",
        (
            "SELECT id, 'account has no INBOX' FROM account a WHERE NOT leaving AND NOT EXISTS "
            "(SELECT 1 FROM mailbox m WHERE m.account = a.id AND m.name = 'INBOX' AND m.selectable)"
        ),
    ),
    (
        "mailbox",
        (
            "SELECT account, special_use || ' is several mailboxes' FROM mailbox WHERE special_use IS NOT NULL "
            "GROUP BY account, special_use HAVING count(*) > 1"
        ),
    ),
    # --- queue
    (
        "queue",
        (
            "SELECT submitter, 'queued message ' || id || ' waits for nobody' FROM queue_message q WHERE NOT EXISTS "
            "(SELECT 1 FROM queue_recipient r WHERE r.message = q.id AND r.state = 'pending')"
        ),
    ),
    (
        "queue",
        (
            "SELECT DISTINCT NULL, 'recipients of queued message ' || message || "
            "', which is not there' FROM queue_recipient "
            "WHERE message NOT IN (SELECT id FROM queue_message)"
        ),
    ),
    (
        "queue",
        (
            "SELECT NULL, format('queued message %d has a recipient in state %s', "
            "message, state) FROM queue_recipient "
            "WHERE state NOT IN ('pending', 'delivered', 'failed')"
        ),
    ),
)
"""(kind, query): what a shard must fulfil."""
