"""Roster: who takes part: enterprises and the support list, institutions, guarantors, project bars.

Nobody puts an enterprise on the support list: its days on it follow from what is recorded of it, its
qualifications less its D-class periods (R-03, R-04; enterprise.py, support_list.py). Records come from
imported lists (list_import.py) and from the conference's votes (nomination.py), end by revocation
(revocation.py), and are never edited: a change is a new version beside the old one.

- A nomination or an admission: `voting` → `approved`, or `meeting` → `approved` or `declined`
  (conference.py, used by nomination.py and admission.py)
- An institution: → `active` (admission.py) → `leaving` (exit.py) → `exited` (daily.py); `disqualified`
  when its cooperation is cancelled (reactions.py); admitted anew → `active`
- An import: `waiting` → `reading` → `checking` → `applying` → `done`, or `refused` as a whole
  (list_import.py takes it in, import_work.py works it off)
"""
