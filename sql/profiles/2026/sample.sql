-- Three hundred made-up people for the demo and the tests, the same in every run (times count back from today). Numbers
-- 1 to 200 are students, the rest adults:
--
--     1-165  13 to 18 years old           197-198  asked for erasure
--   166-180  under 13                     199-200  no usable address
--   181-192  of unknown age               201-260  parents        281-285  administrators
--   193-196  consent asked for,           261-280  advisors       286-300  observers
--            given for 196 only
--
-- 61 to 160 are pupils of a school, 261 to 272 its staff; 166 to 175 are dependents of the parents 201 to 210.
--
-- Names are strings of syllables and addresses are under example.org, so nobody real is among them.

create function pg_temp.pick(seed text, choices integer) returns integer language sql immutable
return ('x' || substr(md5(seed), 1, 7))::bit(28)::integer % choices;

create function pg_temp.id(kind text, n integer) returns uuid language sql immutable
return md5(kind || ':' || n)::uuid;

create function pg_temp.name(seed text) returns text language sql immutable
return initcap(
    (array['bren', 'cal', 'dor', 'el', 'fen', 'gal', 'hal', 'is', 'jor', 'kel', 'lum', 'mir'])[
        1 + pg_temp.pick(seed || 1, 12)]
    || (array['a', 'e', 'i', 'o', 'u', 'ae', 'io'])[1 + pg_temp.pick(seed || 2, 7)]
    || (array['dren', 'lith', 'mond', 'nar', 'quil', 'ravo', 'sten', 'tavi', 'vex', 'wyn', 'zim'])[
        1 + pg_temp.pick(seed || 3, 11)]
);

create function pg_temp.ago(seed text, days integer) returns timestamptz language sql stable
return date_trunc('day', now())
    - make_interval(days => pg_temp.pick(seed || 'd', days), secs => pg_temp.pick(seed || 's', 86400));

create temporary table cast_list as
select
    n,
    pg_temp.id('person', n) as id,
    pg_temp.name('first' || n) as first_name,
    case when n % 17 = 0 then 'O&#x27;' else '' end || pg_temp.name('last' || n) as last_name,
    case
        when n between 61 and 160 or n between 261 and 272 then 'org_managed'
        when n <= 200 then 'student' when n <= 260 then 'parent' when n <= 280 then 'advisor'
        when n <= 285 then 'superadmin' else 'observer'
    end as role,
    case
        when n between 61 and 160 then 'student' when n between 261 and 270 then 'advisor'
        when n = 271 then 'org_admin' when n = 272 then 'campus_coordinator'
    end as org_role,
    n between 166 and 175 as is_dependent,
    case
        when n between 166 and 175 then null
        when n = 199 then 'canvas-' || md5('canvas') || '@lti.optioeducation.com'
        when n = 200 then 'pupil200@optio-internal-placeholder.local'
        when n % 29 = 0 then null
        when n % 11 = 0 then 'Person.' || n || '@Example.ORG'
        else 'person.' || n || '@example.org'
    end as email,
    case
        when n between 166 and 180 then current_date - make_interval(years => 7 + n % 5, days => 30 + n)
        when n between 181 and 192 then null
        when n <= 200 then current_date - make_interval(years => 13 + n % 6, days => 30 + n)
    end::date as date_of_birth,
    pg_temp.ago('signup' || n, 300) as created_at
from generate_series(1, 300) n;

insert into public.organizations (id, name, slug)
values (pg_temp.id('school', 1), 'Made-up Academy', 'made-up-academy');

insert into auth.users (id, email, email_confirmed_at) select id, email, created_at from cast_list;

insert into public.users (
    id, first_name, last_name, display_name, email, role, date_of_birth, created_at, last_active, bio,
    parental_consent_verified, deletion_status, deletion_requested_at, deletion_scheduled_for,
    org_role, org_roles, organization_id, is_dependent, managed_by_parent_id
)
select
    id, first_name, last_name, first_name || ' ' || last_name, email, role, date_of_birth, created_at, created_at,
    'Words that never leave the database.',
    n = 196,
    case when n in (197, 198) then 'pending' else 'none' end,
    case when n in (197, 198) then date_trunc('day', now()) - interval '3 days' end,
    case when n in (197, 198) then date_trunc('day', now()) + interval '27 days' end,
    org_role, case when n % 2 = 0 then to_jsonb(array[org_role]) end,
    case when org_role is not null then pg_temp.id('school', 1) end,
    is_dependent, case when is_dependent then pg_temp.id('person', n + 35) end
from cast_list order by is_dependent, n;

-- asked at sign-up, before their last birthday; the flag does not age out
update public.users set requires_parental_consent = true
where id in (select id from cast_list where n between 193 and 196);

insert into public.quests (id, title, description, quest_type, class_review_status, created_by)
select
    pg_temp.id('quest', n::integer), title, 'What this quest is about.',
    case when n % 6 = 0 then 'class' else 'optio' end,
    case when n % 12 = 0 then 'credit_awarded' when n % 6 = 0 then 'submitted_for_review' end,
    case when n % 4 = 0 then pg_temp.id('person', 261 + n::integer % 20) end
from unnest(array[
    'Map your watershed', 'Build a solar cooker', 'Interview an elder', 'Write a one-act play', 'Grow a kitchen garden',
    'Train for five kilometres', 'Code a weather station', 'Host a town hall', 'Compose a theme', 'Restore a bicycle',
    'Design a board game', 'Cook from another country', 'Film a short documentary', 'Survey the night sky',
    'Start a tiny business', 'Paint a mural', 'Learn sign language', 'Run a repair café', 'Track local birds',
    'Debate both sides', 'Knit something useful', 'Read twelve poets', 'Model a bridge', 'Keep a sleep diary'
]) with ordinality as q (title, n);

create temporary table enrolments as
select
    pg_temp.id('enrolment' || k, n) as id, p.id as user_id, n, k,
    pg_temp.id('quest', 1 + pg_temp.pick('q' || n || ':' || k, 24)) as quest_id,
    pg_temp.ago('start' || n || k, 120) as started_at,
    pg_temp.pick('state' || n || k, 10) as state                 -- 0-3 completed, 4-8 active, 9 set down
from cast_list p, generate_series(1, 3) k
where p.n <= 200 and k <= pg_temp.pick('many' || n, 4);

insert into public.user_quests (
    id, user_id, quest_id, started_at, created_at, completed_at, is_active, status, last_picked_up_at, last_set_down_at,
    personalization_completed
)
select
    enrolments.id, user_id, quest_id, started_at, started_at,
    case when enrolments.state <= 3 and quest_type <> 'class' then started_at + interval '5 days 3 hours' end,
    enrolments.state between 4 and 8,
    case when enrolments.state = 9 then 'set_down' else 'picked_up' end,
    started_at,
    case when enrolments.state = 9 then started_at + interval '2 days' end,
    true
from enrolments join public.quests on quests.id = quest_id;

insert into public.user_quest_tasks (
    id, user_id, quest_id, user_quest_id, title, pillar, xp_value, is_required, created_at
)
select
    md5(e.id || ':' || t)::uuid, e.user_id, e.quest_id, e.id, 'Step ' || t,
    (array['stem', 'wellness', 'communication', 'civics', 'art'])[1 + pg_temp.pick('pillar' || e.n || e.k || t, 5)],
    50 * (1 + pg_temp.pick('xp' || e.n || e.k || t, 4)), t <= 2, e.started_at
from enrolments e, generate_series(1, 4) t;

insert into public.quest_task_completions (
    id, user_id, quest_id, task_id, user_quest_task_id, evidence_text, completed_at, created_at, updated_at
)
select md5('done' || t.id)::uuid, t.user_id, t.quest_id, t.id, t.id, 'A student''s own work.', moment, moment, moment
from public.user_quest_tasks t
join enrolments e on e.id = t.user_quest_id
cross join lateral (select t.created_at + make_interval(days => substr(t.title, 6)::integer) as moment) at
where e.state <= 3 or substr(t.title, 6)::integer <= pg_temp.pick('far' || e.n || e.k, 4);

-- Every login writes five rows in a vocabulary that holds nothing; what was earned stands in the current one, and for
-- some early students in an older one.
insert into public.user_skill_xp (user_id, pillar, xp_amount)
select id, pillar, 0
from cast_list, unnest(array[
    'Arts & Creativity', 'STEM & Logic', 'Life & Wellness', 'Language & Communication', 'Society & Culture'
]) pillar
where n <= 200;

insert into public.user_skill_xp (user_id, pillar, xp_amount)
select c.user_id, t.pillar, sum(t.xp_value)
from public.quest_task_completions c join public.user_quest_tasks t on t.id = c.user_quest_task_id
group by c.user_id, t.pillar;

insert into public.user_skill_xp (user_id, pillar, xp_amount)
select id, case when n % 2 = 0 then 'stem_logic' else 'creativity' end, 400 from cast_list where n <= 40 and n % 5 = 0;

-- kept in step with the pillars since June 2026
update public.users u
set total_xp = (select coalesce(sum(x.xp_amount), 0) from public.user_skill_xp x where x.user_id = u.id)
where u.id in (select id from cast_list where n <= 200);

insert into public.parent_student_links (id, parent_user_id, student_user_id, status, verified_at)
select
    pg_temp.id('link', n), id, pg_temp.id('person', n - 200),
    case when n > 255 then 'pending_approval' else 'approved' end,
    case when n > 255 then null else created_at end
from cast_list where n between 201 and 260;

insert into public.lms_integrations (id, user_id, organization_id, lms_platform, lms_user_id)
select
    pg_temp.id('lms', n), id, pg_temp.id('school', 1),
    (array['canvas', 'canvas', 'canvas', 'google_classroom', 'schoology', 'moodle', 'spark'])[1 + n % 7], 'lms-' || n
from cast_list where n between 100 and 130;

insert into public.user_activity_events (user_id, session_id, event_type, event_category)
select id, pg_temp.id('session', n), 'page_view', 'navigation' from cast_list;

drop table enrolments;
drop table cast_list;
analyze;
