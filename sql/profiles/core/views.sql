-- What may leave the database, and in which form: the truth of each feed, read when a key is due.
--
-- One column for each field of the CRM, named as the field; the first columns are the key and what steers delivery.
-- Which rows there are decides who may be in the CRM at all. Function bodies have the RETURN form, so that the database
-- itself records every column that is read; a test holds that against a list.

create schema if not exists cdc;

-- Values -------------------------------------------------------------------------------------------------------------

-- One character for one numeric HTML entity; an entity that names no character stays as it was.
create or replace function cdc.character(entity text) returns text
language sql immutable strict parallel safe
return (
    select case
        when code between 1 and 31 or code between 127 and 159 then ' '
        when code between 32 and 55295 or code between 57344 and 1114111 then chr(code)
        else entity
    end
    from (
        select case
            when entity ~ '^&#[xX]' then ('x' || lpad(rtrim(substring(entity from 4), ';'), 8, '0'))::bit(32)::integer
            else rtrim(substring(entity from 3), ';')::integer
        end as code
    ) named
);

create or replace function cdc.decode_numeric_entities(value text) returns text
language sql immutable strict parallel safe
return (
    select string_agg(
        case when piece.token[1] ~ '^&#[0-9xX]' then cdc.character(piece.token[1]) else piece.token[1] end,
        '' order by piece.n
    )
    from regexp_matches(value, '&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});|[^&]+|&', 'g')
        with ordinality as piece (token, n)
);

-- The application escapes names when it stores them (&#x27; for an apostrophe); the CRM shows text, not HTML. The
-- ampersand comes last and the whole is done once, which is the inverse of what was done. Other numeric entities are
-- rare and slow, so they are looked for only where one is left.
create or replace function cdc.decode_entities(value text) returns text
language sql immutable strict parallel safe
return (
    select replace(case when known ~ '&#' then cdc.decode_numeric_entities(known) else known end, '&amp;', '&')
    from (
        select replace(replace(replace(replace(replace(replace(replace(value,
            '&#x27;', ''''), '&#39;', ''''), '&apos;', ''''), '&quot;', '"'), '&nbsp;', ' '), '&lt;', '<'), '&gt;', '>'
        ) as known
    ) named
);

create or replace function cdc.unescape_html(value text) returns text
language sql immutable parallel safe
return case when position('&' in value) = 0 then value else cdc.decode_entities(value) end;

-- A line of text for a field of `length` characters: the CRM refuses longer text, it doesn't cut it. Null if nothing
-- is left.
create or replace function cdc.line(value text, length integer) returns text
language sql immutable parallel safe
return nullif(
    btrim("left"(btrim(regexp_replace(cdc.unescape_html(value), '[[:space:][:cntrl:]]+', ' ', 'g')), length)), ''
);

-- A usable address in lower case, or null: the application keeps placeholders in the same column for people who have
-- no address (.local, and Canvas users without one).
create or replace function cdc.email_address(value text) returns text
language sql immutable parallel safe
return case
    when length(value) <= 100
        and lower(btrim(value)) ~ '^[a-z0-9.!#$%&''*+/=?^_`{|}~-]+@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$'
        and lower(btrim(value)) !~ '(\.local|\.invalid|@lti\.optioeducation\.com)$'
    then lower(btrim(value))
end;

-- The CRM's integer fields take nine digits.
create or replace function cdc.whole(value numeric) returns integer
language sql immutable parallel safe
return least(greatest(coalesce(value, 0), 0), 999999999)::integer;

-- The day in UTC, whatever the session's zone is; null for infinity, which no CRM knows.
create or replace function cdc.utc_day(moment timestamptz) returns date
language sql immutable parallel safe
return case when isfinite(moment) then (moment at time zone 'UTC')::date end;

-- The CRM takes ISO 8601 with an offset and without a fraction of a second.
create or replace function cdc.whole_second(moment timestamptz) returns timestamptz
language sql stable parallel safe
return case when isfinite(moment) then date_trunc('second', moment) end;

-- What tells one completion from the next of the same row.
create or replace function cdc.event_id(id uuid, moment timestamptz) returns text
language sql immutable parallel safe
return id::text || ':' || (extract(epoch from moment) * 1000000)::bigint::text;

-- Vocabulary ---------------------------------------------------------------------------------------------------------

-- Four vocabularies of pillars are in the table, two of them for the same people: fold before adding up.
create or replace function cdc.canonical_pillar(pillar text) returns text
language sql immutable parallel safe
return case lower(btrim(pillar))
    when 'art' then 'art'
    when 'arts_creativity' then 'art'
    when 'creativity' then 'art'
    when 'arts & creativity' then 'art'
    when 'stem' then 'stem'
    when 'stem_logic' then 'stem'
    when 'critical_thinking' then 'stem'
    when 'stem & logic' then 'stem'
    when 'communication' then 'communication'
    when 'language_communication' then 'communication'
    when 'language & communication' then 'communication'
    when 'civics' then 'civics'
    when 'society_culture' then 'civics'
    when 'cultural_literacy' then 'civics'
    when 'society & culture' then 'civics'
    when 'wellness' then 'wellness'
    when 'life_wellness' then 'wellness'
    when 'practical_skills' then 'wellness'
    when 'life & wellness' then 'wellness'
end;

-- The five names are documented with these thresholds; users.level is a number that nothing maintains.
create or replace function cdc.level_of(total_xp bigint) returns text
language sql immutable parallel safe
return case
    when total_xp >= 3000 then 'Sage'
    when total_xp >= 1500 then 'Scholar'
    when total_xp >= 750 then 'Creator'
    when total_xp >= 250 then 'Builder'
    else 'Explorer'
end;

create or replace function cdc.role_label(role text) returns text
language sql immutable parallel safe
return case role
    when 'student' then 'Student'
    when 'parent' then 'Parent'
    when 'advisor' then 'Advisor'
    when 'admin' then 'Admin'
    when 'observer' then 'Observer'
end;

-- A role that we don't know is a child's until somebody says otherwise.
create or replace function cdc.is_adult_role(role text) returns boolean
language sql immutable parallel safe
return coalesce(role in ('parent', 'advisor', 'admin', 'observer'), false);

create or replace function cdc.lms_label(platform text) returns text
language sql immutable parallel safe
return case platform
    when 'canvas' then 'Canvas'
    when 'google_classroom' then 'Google Classroom'
    when 'schoology' then 'Schoology'
    when 'moodle' then 'Moodle'
end;

-- The gate -----------------------------------------------------------------------------------------------------------

-- Who may be in the CRM. Fails closed: a child under 13, a student of unknown age, anybody whose parents were asked and
-- have not agreed, and anybody who asked to be erased is not there. The date of birth is read here and goes no further.
-- "Today" is twelve hours late, so that nobody is 13 before it is their birthday everywhere; age() is used because an
-- interval added to 29 February comes a day early.
create or replace function cdc.may_leave(
    role text,
    date_of_birth date,
    consent_required boolean,
    consent_verified boolean,
    deletion_status text,
    email text
) returns boolean
language sql stable parallel safe
return coalesce(deletion_status, 'none') = 'none'
    and (consent_required is not true or consent_verified is true)
    and case
        when date_of_birth is null then cdc.is_adult_role(role)
        else age((now() at time zone 'UTC' - interval '12 hours')::date, date_of_birth) >= interval '13 years'
    end
    -- an invitation that nobody has taken up is not a person yet
    and coalesce(email, '') !~* '@(pending|invite)\.optio\.local$';

-- Contacts -----------------------------------------------------------------------------------------------------------

create or replace view cdc.contacts as
select
    u.id                                                              as user_id,
    -- an OAuth sign-in is called "User" until the person says otherwise
    nullif(cdc.line(u.first_name, 40), 'User')                        as "First_Name",
    -- mandatory in the CRM, optional here
    coalesce(cdc.line(u.last_name, 80), cdc.line(u.display_name, 80), 'Unknown') as "Last_Name",
    cdc.email_address(u.email)                                        as "Email",
    cdc.line(u.display_name, 100)                                     as "Display_Name",
    cdc.role_label(u.role)                                             as "User_Type",
    cdc.utc_day(u.created_at)                                         as "Signup_Date",
    -- users.total_xp is not maintained in every era; the pillars are
    cdc.whole(xp.total)                                               as "Total_XP",
    cdc.level_of(xp.total)                                            as "Level",
    cdc.whole(quests.active)                                          as "Active_Quests",
    cdc.whole(quests.completed)                                       as "Completed_Quests",
    cdc.whole(tasks.completed)                                        as "Tasks_Completed",
    cdc.whole((
        select count(*) from public.user_badges b where b.user_id = u.id and b.completed_at is not null
    ))                                                                as "Badges_Earned",
    -- users.streak_days is never written: days in a row with a completed task, until today or yesterday
    cdc.whole(streak.days)                                            as "Current_Streak",
    cdc.whole(xp.stem)                                                as "XP_STEM",
    cdc.whole(xp.wellness)                                            as "XP_Wellness",
    cdc.whole(xp.communication)                                       as "XP_Communication",
    cdc.whole(xp.civics)                                              as "XP_Civics",
    cdc.whole(xp.art)                                                 as "XP_Art",
    'https://www.optioeducation.com/diploma/' || u.id::text           as "Portfolio_URL",
    exists (
        -- one condition for both sides: apart, each would be answered by reading all links
        select from public.parent_student_links l
        where (l.student_user_id = u.id or l.parent_user_id = u.id) and l.status = 'active'
    )                                                                 as "Parent_Linked",
    coalesce((
        select cdc.lms_label(l.lms_platform)
        from public.lms_integrations l
        where l.user_id = u.id and cdc.lms_label(l.lms_platform) is not null
        order by coalesce(l.sync_status = 'active', false) desc, l.created_at desc nulls last, l.id
        limit 1
    ), 'None')                                                        as "LMS_Platform",
    cdc.whole_second(u.last_active)                                   as "Last_Active_At"
from public.users u
cross join lateral (
    select
        coalesce(sum(amount), 0) as total,
        sum(amount) filter (where pillar = 'stem') as stem,
        sum(amount) filter (where pillar = 'wellness') as wellness,
        sum(amount) filter (where pillar = 'communication') as communication,
        sum(amount) filter (where pillar = 'civics') as civics,
        sum(amount) filter (where pillar = 'art') as art
    from (
        select x.xp_amount as amount, cdc.canonical_pillar(x.pillar) as pillar
        from public.user_skill_xp x
        where x.user_id = u.id
        offset 0  -- keeps the vocabulary from being looked up once for each sum
    ) folded
) xp
cross join lateral (
    select
        count(*) filter (where e.is_active and e.completed_at is null) as active,
        count(e.completed_at) as completed
    from public.user_quests e
    where e.user_id = u.id
) quests
cross join lateral (
    select count(*) as completed from public.quest_task_completions c where c.user_id = u.id
) tasks
cross join lateral (
    select count(*) as days
    from (
        select d.day, max(d.day) over () as latest, row_number() over (order by d.day desc) as n
        from (
            select distinct (c.completed_at at time zone 'UTC')::date as day
            from public.quest_task_completions c
            where c.user_id = u.id and isfinite(c.completed_at)
        ) d
    ) run
    where run.latest >= (now() at time zone 'UTC')::date - 1 and run.day = run.latest - (run.n::integer - 1)
) streak
where cdc.may_leave(
    u.role,
    u.date_of_birth,
    u.requires_parental_consent,
    u.parental_consent_verified,
    u.deletion_status,
    u.email
);
comment on view cdc.contacts is 'Feed contacts: one row for each person who may be in the CRM.';

-- Events -------------------------------------------------------------------------------------------------------------

-- One row for each completion that the database shows; a quest that is opened again and completed again is a second
-- event. The title of a quest that a student wrote, or somebody who is no longer there, stays here, and so does
-- everything that people write about their work.
create or replace view cdc.quest_completions as
select
    e.id                                              as enrolment_id,
    cdc.event_id(e.id, e.completed_at)                as event_id,
    e.user_id                                         as user_id,
    coalesce('Completed: ' || named.title, 'Completed a quest') as "Subject",
    'Completed'                                       as "Status",
    cdc.utc_day(e.completed_at)                       as "Due_Date",
    'XP earned: ' || cdc.whole(earned.xp)::text       as "Description",
    'Quest Completion'                                as "Event_Type",
    cdc.whole(earned.xp)                              as "XP_Earned"
from public.user_quests e
join public.users u on u.id = e.user_id
join public.quests q on q.id = e.quest_id
left join public.users author on author.id = q.created_by
left join lateral (
    select cdc.line(q.title, 240) as title
    where q.created_by is null or cdc.is_adult_role(author.role)
) named on true
cross join lateral (
    -- a completion has no XP of its own, its task has
    select sum(t.xp_value) as xp
    from public.user_quest_tasks t
    where t.user_quest_id = e.id
        and (
            exists (select from public.quest_task_completions c where c.user_id = e.user_id and c.task_id = t.id)
            or exists (select from public.quest_task_completions c where c.user_quest_task_id = t.id)
        )
) earned
where isfinite(e.completed_at)
    and cdc.may_leave(
        u.role,
    u.date_of_birth,
    u.requires_parental_consent,
    u.parental_consent_verified,
    u.deletion_status,
    u.email
    );
comment on view cdc.quest_completions is 'Feed quest_completions: one row for each completed enrolment.';

-- A row of user_badges is made, and earned_at set, when somebody picks a badge to work on; it is awarded when
-- completed_at is set.
create or replace view cdc.badges_earned as
select
    a.id                                              as award_id,
    cdc.event_id(a.id, a.completed_at)                as event_id,
    a.user_id                                         as user_id,
    cdc.line('Badge earned: ' || b.name, 120)         as "Note_Title",
    'Earned on ' || to_char(cdc.utc_day(a.completed_at), 'YYYY-MM-DD') || '.' as "Note_Content"
from public.user_badges a
join public.users u on u.id = a.user_id
join public.badges b on b.id = a.badge_id
where isfinite(a.completed_at)
    and cdc.may_leave(
        u.role,
    u.date_of_birth,
    u.requires_parental_consent,
    u.parental_consent_verified,
    u.deletion_status,
    u.email
    );
comment on view cdc.badges_earned is 'Feed badges_earned: one row for each badge that was awarded.';
