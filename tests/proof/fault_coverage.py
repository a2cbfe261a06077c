"""Every fault that the proof counts, by its id: the tests that bring it about, or why none can, or not yet."""

from __future__ import annotations

DISPATCH = "tests/functional/test_dispatch.py"
MONITORING = "tests/functional/test_monitoring.py"
CRASH = "tests/functional/test_crash_points.py::TestACrash::test_heals_by_itself"
CRASHES = "tests/functional/test_crash_points.py"
PROXY = "tests/proof/test_fault_proxy.py::TestAPurchase::test_through_a_bad_line_is_one_request_and_one_purchase"
ASKING = "tests/proof/test_fault_proxy.py::TestAQuestion::test_through_a_bad_line_changes_nothing_until_it_is_answered"
SCENARIOS = "tests/functional/test_scenarios.py"
STATEFUL = "tests/proof/test_stateful.py::test_no_short_story_breaks_anything"
MODEL = "tests/proof/test_model.py"
ONE_ATTEMPT = f"{MODEL}::TestTheProtocol::test_of_one_attempt_holds_in_every_order_of_events"
TRANSPORT = "tests/unit/test_transport.py"
EGRESS = "tests/unit/test_egress.py"
REST = "tests/functional/test_rest_orders.py"
LEDGER = "tests/functional/test_ledger.py"
STOCK = "tests/functional/test_stock.py"
ORDER_MONEY = "tests/functional/test_order_money.py"
HEALTH = "tests/functional/test_health.py"
SUITE = "tests/contract/suite.py"
INVARIANTS = "tests/functional/test_invariants.py"
DECISIONS = "tests/functional/test_decisions.py"
WEBHOOKS = "tests/functional/test_webhooks.py"
SESSIONS = "tests/functional/test_sessions.py"
LADDER = "tests/functional/test_ladder.py"
SHORT_CHAOS = "tests/chaos/test_chaos.py::TestAShortRun::test_finds_nothing_wrong_and_leaves_nothing_behind"
RECONCILING = "tests/functional/test_reconciling.py"
LINES = "tests/unit/test_statement_lines.py"
ODD = "tests/functional/test_odd_worlds.py"
RESTORED = "tests/functional/test_restored.py"
ALERTS = "tests/functional/test_alerts.py"
EVENTS = "tests/functional/test_events.py"

Cover = tuple[str, ...] | str
"""Node ids of tests, or the reason in a sentence: `not yet: ...` where it can be tested and is not."""

COVERAGE: dict[str, Cover] = {
    # crash points
    "C1": (CRASH, f"{DISPATCH}::TestADispatchThatIsRefused::test_by_an_error_of_our_own_waits_and_sends_nothing"),
    "C2": (CRASH,),
    "C3": (CRASH,),
    "C4": (CRASH,),
    "C5": (CRASH, f"{DISPATCH}::TestACertainRefusal::test_goes_to_the_next_route_in_the_same_moment"),
    "C6": (CRASH, f"{DISPATCH}::TestADispatch::test_puts_neither_pin_nor_password_into_the_log"),
    "C9": (CRASH, f"{ORDER_MONEY}::TestAnotherCurrency::test_is_converted_by_the_rate_frozen_before_the_send"),
    "C10a": (CRASH, f"{CRASHES}::TestACommit::test_of_the_attempt_that_fails_sends_nothing"),
    "C10b": (f"{CRASHES}::TestACommit::test_whose_answer_is_lost_heals_by_itself",),
    "C11a": (CRASH, ONE_ATTEMPT),
    "C11b": (PROXY, f"{TRANSPORT}::TestMaybeSent::test_a_server_that_never_reads_a_long_body"),
    "C11c": (PROXY, f"{SCENARIOS}::test_scenario_1_the_panel_accepts_and_its_reply_is_lost"),
    "C11d": (PROXY, f"{TRANSPORT}::TestMaybeSent::test_keeps_what_was_read"),
    "C12": (CRASH, f"{SCENARIOS}::test_scenario_2_the_worker_dies_between_the_reply_and_the_database"),
    "C13a": (f"{CRASHES}::TestASettlementThatFails::test_is_found_out_by_asking",),
    "C13b": (f"{CRASHES}::TestACommit::test_whose_answer_is_lost_heals_by_itself",),
    "C13c": (f"{CRASHES}::TestASettlementThatFails::test_keeps_the_raw_answer_and_nothing_half",),
    "C14": (
        f"{MONITORING}::TestAPoisonousAnswer::test_moves_nothing_half",
        f"{INVARIANTS}::TestTheFile::test_finds_what_is_planted_for_each",
    ),
    "C15": (CRASH, f"{MONITORING}::TestTheQueueOfRecord::test_is_enough_when_every_message_is_lost"),
    "C16": (CRASH, f"{MONITORING}::TestAClaim::test_lapses_with_its_lease"),
    "C17": (CRASH, STATEFUL),
    "C18": (
        f"{EVENTS}::TestADelivery::test_that_a_dead_process_began_is_made_by_another",
        f"{EVENTS}::TestHandingOn::test_goes_on_where_a_crash_left_it",
    ),
    # provider and network
    "P1": (
        "tests/proof/test_fault_proxy.py::TestAPurchase::test_that_no_connection_carries_is_not_sent_and_goes_later",
        f"{TRANSPORT}::TestNotSent::test_refused",
        f"{TRANSPORT}::TestTls::test_a_handshake_that_hangs",
    ),
    "P2": (
        PROXY,
        ASKING,
        f"{LADDER}::TestOneThatNeverArrived::test_is_sent_again_under_its_reference_where_that_is_safe",
    ),
    "P3": (PROXY, ASKING, f"{SCENARIOS}::test_scenario_1_the_panel_accepts_and_its_reply_is_lost"),
    "P4": (PROXY, ASKING, f"{SCENARIOS}::test_scenario_4_status_answers_are_rubbish_for_an_hour"),
    "P5": (
        f"{SUITE}::AdapterContract::test_says_that_a_duplicate_is_one",
        f"{MODEL}::TestAGuard::test_that_is_off_breaks_the_protocol",
    ),
    "P6": (PROXY, ASKING, f"{DISPATCH}::TestATroubleOnOurSide::test_in_a_row_doubles_the_pause_up_to_ten_minutes"),
    "P7": (
        f"{DISPATCH}::TestATroubleOnOurSide::test_tries_the_next_route_at_once",
        f"{DISPATCH}::TestAnAnswerThatSaysNothing::test_without_a_purchase_is_asked_for_and_becomes_a_persons_question",
    ),
    "P8": (PROXY, ASKING),
    "P9": (PROXY, ASKING, "tests/proof/test_fault_proxy.py::TestAPurchase::test_is_not_sent_again_after_a_redirect"),
    "P10": (PROXY, ASKING, f"{TRANSPORT}::TestMaybeSent::test_interim_answers_without_end_are_too_much"),
    "P11": (PROXY, ASKING, f"{SUITE}::AdapterContract::test_never_raises_for_a_damaged_answer"),
    "P12": (
        f"{SUITE}::AdapterContract::test_concludes_nothing_from_the_answer_about_another_order",
        f"{MONITORING}::TestAnAnswer::test_for_another_reference_is_discarded",
        "tests/proof/test_fault_proxy.py::TestAPurchase"
        "::test_whose_answer_is_swapped_with_anothers_is_bought_once_each",
    ),
    "P13": (
        PROXY,
        ASKING,
        "tests/proof/test_fault_proxy.py::TestPlainBytes::test_that_stop_leave_the_purchase_in_doubt",
    ),
    "P14": (f"{TRANSPORT}::TestTls::test_a_certificate_that_is_not_accepted",),
    "P15": (
        f"{LADDER}::TestOneThatIsHidden::test_is_not_bought_again_by_a_second_send",
        STATEFUL,
        f"{MODEL}::TestAGuard::test_that_is_off_breaks_the_protocol",
    ),
    "P16": (
        "tests/unit/test_verdicts.py::TestAQuestionAboutAnAttemptInDoubt"
        "::test_that_does_not_find_it_for_a_quarter_of_an_hour_calls_a_person",
        f"{LADDER}::TestOneThatNeverArrived::test_is_proven_absent_where_it_is_not",
    ),
    "P17": (f"{RECONCILING}::TestMatching::test_sees_that_one_request_was_executed_twice",),
    "P18": (
        "tests/contract/test_client_api_against_simulator.py::TestAsking::test_a_clock_that_is_wrong_changes_nothing",
    ),
    "P19": (
        "tests/functional/test_breaker.py::TestAQuestion::test_is_the_one_probe_of_its_lane",
        "tests/functional/test_dead_provider.py::TestAProviderThatIsBack::test_is_asked_about_all_within_its_budget_in_time",
    ),
    "P20": (
        "tests/functional/test_dead_provider.py::TestManyOrdersAtADeadProvider::test_that_hangs_hold_up_no_other",
        "tests/functional/test_breaker.py::TestALongQueue::test_is_put_off_over_two_minutes_and_never_empty_for_a_probe",
    ),
    "P21": (ASKING, STATEFUL),
    "P22": (
        f"{SUITE}::InBatches::test_learns_nothing_about_an_order_that_is_missing",
        f"{SUITE}::InBatches::test_ignores_orders_that_it_did_not_ask_about",
    ),
    # what answers mean
    "V1": (
        f"{MONITORING}::TestAnAnswer::test_that_falls_behind_is_absorbed",
        "tests/unit/test_verdicts.py::TestADelivery::test_absorbs_a_regression",
    ),
    "V2": (
        f"{SCENARIOS}::test_scenario_11_an_unknown_status_word_decides_nothing",
        f"{ALERTS}::TestARealTrouble::test_of_words_that_nobody_knows",
        STATEFUL,
    ),
    "V3": (
        f"{MONITORING}::TestAPin::test_that_comes_late_is_waited_for_with_the_money_held",
        f"{MONITORING}::TestAPin::test_that_is_blank_is_none",
        f"{MONITORING}::TestAPin::test_that_is_missing_for_a_quarter_of_an_hour_is_told_once",
        f"{MONITORING}::TestAPin::test_that_never_comes_is_a_persons_question_at_the_deadline",
    ),
    "V4": (f"{MONITORING}::TestAPin::test_in_a_waiting_answer_is_not_given_out_before_the_delivery",),
    "V5": (f"{MONITORING}::TestAPin::test_that_is_another_is_appended_with_a_case",),
    "V6": (
        f"{LADDER}::TestAPartDelivery::test_takes_and_gives_back_by_unit",
        f"{DISPATCH}::TestAQuantityOfThree::test_with_one_cancelled_unit_is_partly_completed",
        f"{MONITORING}::TestAnAnswer::test_that_only_part_came_is_a_persons_question_with_the_money_held",
    ),
    "V7": (
        f"{LADDER}::TestOneThatIsHidden::test_longer_than_an_absence_takes_is_surplus_when_it_turns_up",
        f"{MONITORING}::TestALateDelivery::test_is_quarantined_booked_to_loss_and_a_case",
        f"{SCENARIOS}::test_scenario_7_a_delivery_after_the_refund_is_told_and_kept_hidden",
    ),
    "V8": (f"{MONITORING}::TestAnAnswer::test_that_reverses_a_delivery_opens_a_case",),
    "V9": (
        "tests/unit/test_verdicts.py::TestAFailureAfterAcceptance::test_with_a_code_in_it_is_a_conflict",
        STATEFUL,
    ),
    "V10": (
        f"{ORDER_MONEY}::TestTheSnapshot::test_tells_the_difference_when_the_provider_names_another_cost",
        f"{ORDER_MONEY}::TestAnotherCurrency::test_of_the_providers_answer_is_not_taken_for_the_accounts",
    ),
    "V11": (
        f"{MONITORING}::TestAPin::test_is_stored_byte_for_byte",
        f"{SUITE}::WithCodes::test_passes_any_code_on_exactly",
    ),
    # workers, queue, broker
    "W1": (
        "tests/functional/test_race.py::TestTwelveThreads::test_buy_each_order_once",
        "tests/functional/test_race.py::TestTwelveThreads::test_buy_each_order_once_without_the_row_lock",
        ONE_ATTEMPT,
    ),
    "W2": (f"{SCENARIOS}::test_scenario_3_two_workers_and_an_operators_click_at_the_same_time",),
    "W3": (
        f"{DISPATCH}::TestTheSendGuard::test_stops_a_sender_that_slept_past_its_deadline",
        f"{MODEL}::TestAGuard::test_against_zombies_gives_the_shortest_story_without_it",
    ),
    "W4": (
        f"{MONITORING}::TestTheFence::test_keeps_a_stale_answer_from_undoing_a_newer_one",
        f"{MONITORING}::TestTheFence::test_drops_the_schedule_of_an_older_claim_but_not_its_facts",
    ),
    "W5": ("tests/chaos/test_kill.py::TestAKilledWorker::test_leaves_no_double_purchase_and_no_lost_pin",),
    "W6": (SHORT_CHAOS,),
    "W7": (
        f"{REST}::TestADeadBroker::test_that_is_gone_costs_no_order",
        f"{MONITORING}::TestTheQueueOfRecord::test_is_enough_when_every_message_is_lost",
    ),
    "W8": (f"{REST}::TestADeadBroker::test_that_is_silent_costs_one_wait_and_no_order",),
    "W9": (f"{MONITORING}::TestTheQueueOfRecord::test_makes_a_message_that_comes_twice_or_late_harmless",),
    "W10": (
        f"{MONITORING}::TestASweep::test_leaves_a_second_copy_nothing_to_do",
        f"{HEALTH}::TestStatusz::test_counts_the_silence_of_each_loop",
        f"{ALERTS}::TestTheBound::test_of_a_killed_process_is_twenty_seconds",
        "tests/chaos/test_alarm.py"
        "::TestKilledProcesses::test_are_told_by_the_web_process_and_told_again_when_they_are_back",
    ),
    "W11": (f"{MONITORING}::TestAPoisonousAnswer::test_is_cut_out_and_backs_off_alone",),
    "W12": (
        "tests/chaos/test_scenarios_real.py::test_messages_of_another_version_are_dropped_and_harm_nothing",
        f"{MONITORING}::TestTheQueueOfRecord::test_is_enough_when_every_message_is_lost",
    ),
    "W13": (f"{ODD}::TestAMachineInAnotherZone::test_asks_at_the_same_moments",),
    "W14": (f"{DISPATCH}::TestTheSendGuard::test_looks_at_the_monotonic_clock_too",),
    "W15": (CRASH, f"{MONITORING}::TestASweep::test_takes_over_from_a_copy_that_died_when_its_token_lapses"),
    # database
    "B1": (
        f"{CRASHES}::TestACommit::test_whose_answer_is_lost_heals_by_itself",
        f"{CRASHES}::TestASettlementWithoutItsConnection::test_is_done_on_another_one",
    ),
    "B2": "Nothing here can show it: what an asynchronous replica has lost is known to the provider alone.",
    "B3": (f"{LEDGER}::TestEightSpendersAtOnce::test_cross_over_without_a_deadlock",),
    "B4": (
        f"{CRASHES}::TestACommit::test_of_the_attempt_that_fails_sends_nothing",
        f"{HEALTH}::TestReadyz::test_is_red_when_the_database_takes_no_writes",
    ),
    "B5": (
        f"{SESSIONS}::TestAServerWithoutAFreeConnection::test_holds_orders_up_and_lets_nothing_leave",
        f"{SESSIONS}::TestAServerWithoutAFreeConnection::test_is_told_by_the_page_that_says_whether_orders_can_be_taken",
        f"{SESSIONS}::TestAServerWithoutAFreeConnection::test_may_be_a_pooler_that_lends_one_for_a_transaction",
    ),
    "B6": (f"{SESSIONS}::TestASession::test_that_lies_still_inside_a_transaction_gives_its_locks_back",),
    "B7": (f"{MONITORING}::TestAPoisonousAnswer::test_moves_nothing_half",),
    "B8": (
        "tests/functional/test_constraints.py::TestAReference::test_is_unique_across_accounts",
        f"{INVARIANTS}::TestTheFile::test_finds_what_is_planted_for_each",
    ),
    "B9": (
        f"{RESTORED}::TestAnOrderThatWaited::test_is_a_persons_and_not_sent",
        f"{RESTORED}::TestAnOrderThatIsMarked::test_is_not_bought_again_when_it_is_proven_absent",
        f"{RESTORED}::TestAnOpenPurchase::test_is_asked_about_at_once_and_ends_by_itself",
    ),
    # people and money
    "M1": (f"{DECISIONS}::TestAtOnce::test_a_person_and_the_checker_capture_once",),
    "M2": (
        f"{DECISIONS}::TestReleasing::test_is_refused_while_an_attempt_holds_the_unit",
        f"{DECISIONS}::TestSendingElsewhere::test_is_refused_while_the_provider_may_have_bought_it",
    ),
    "M3": ("tests/functional/test_give_back.py::test_eight_clicks_at_once_give_back_once", STATEFUL),
    "M4": (f"{MONITORING}::TestAPoisonousAnswer::test_moves_nothing_half",),
    "M5": (f"{LEDGER}::TestEightSpendersAtOnce::test_never_go_below_the_limit",),
    "M6": (f"{ORDER_MONEY}::TestProof::test_m6_three_currencies_and_a_rate_that_changes_mid_flight",),
    "M7": (f"{ORDER_MONEY}::TestProof::test_m7_a_price_edited_between_creation_and_dispatch_changes_nothing",),
    "M8": (
        f"{REST}::TestRepeatingARequest::test_eight_times_at_once_makes_one_order_and_one_charge",
        f"{REST}::TestRepeatingARequest::test_with_another_content_is_refused",
        "tests/functional/test_rest_contract.py::TestARequestInFlight::test_is_told_to_the_second_which_writes_nothing",
        STATEFUL,
    ),
    "M9": (
        f"{DECISIONS}::TestAtOnce::test_six_hand_deliveries_and_a_dispatch_deliver_once",
        "tests/functional/test_manual.py::TestAnOrder::test_blocks_every_other_route_while_it_waits",
    ),
    "M10": (
        f"{STOCK}::TestACrash::test_of_the_settling_transaction_puts_the_codes_back",
        f"{STOCK}::test_twelve_want_six_codes_without_row_locks",
        f"{STOCK}::test_scenario_9_two_customers_one_code_left_at_once",
    ),
    "M11": (
        "tests/functional/test_client_api_door.py::TestChain::test_an_order_is_bought_once_and_its_pin_travels_up",
        "tests/functional/test_chains.py::TestACrash::test_of_a_worker_between_the_hops_buys_once_at_each",
    ),
    # configuration
    "R1": (f"{MONITORING}::TestASweep::test_asks_where_the_order_was_placed_although_the_account_is_disabled",),
    "R2": (
        "tests/functional/test_constraints.py::TestAnAccountThatWasUsed::test_may_get_new_secrets_and_be_disabled",
        f"{DISPATCH}::TestATroubleOnOurSide::test_pauses_the_account_holds_the_order_and_goes_afterwards",
        f"{ALERTS}::TestARealTrouble::test_of_a_login_that_was_refused",
    ),
    "R3": (
        f"{SCENARIOS}::test_scenario_1_the_panel_accepts_and_its_reply_is_lost",
        f"{CRASHES}::TestASettlementThatFails::test_buys_nothing_again_although_the_route_is_still_open",
    ),
    "R4": ("tests/functional/test_constraints.py::TestAnAccountThatWasUsed::test_keeps_its_identity",),
    "R5": (
        f"{ODD}::TestAMappingThatChanges::test_before_the_send_decides_what_is_bought",
        f"{ODD}::TestAMappingThatChanges::test_after_a_send_that_never_left_never_shares_its_reference",
        f"{ODD}::TestAMappingThatChanges::test_during_a_doubt_does_not_change_what_is_sent_again",
    ),
    # security
    "X1": (
        f"{EGRESS}::TestEverywhere::test_refuses_numbers",
        f"{EGRESS}::TestEverywhere::test_refuses_unusual_notations",
        f"{EGRESS}::TestEverywhere::test_refuses_a_login",
        f"{TRANSPORT}::TestPin::test_a_number_is_checked_too",
    ),
    "X2": (
        f"{TRANSPORT}::TestPin::test_the_name_is_looked_up_once",
        f"{EGRESS}::TestResolve::test_one_bad_address_forbids_the_name",
    ),
    "X3": (
        "tests/proof/test_fault_proxy.py::TestAPurchase::test_is_not_sent_again_after_a_redirect",
        f"{TRANSPORT}::TestReply::test_a_redirect_is_not_followed",
    ),
    "X4": (
        f"{EGRESS}::TestEverywhere::test_refuses_other_schemes",
        f"{EGRESS}::TestPublic::test_refuses_other_ports",
        f"{TRANSPORT}::TestNotSent::test_a_call_that_could_be_read_in_two_ways",
    ),
    "X5": (
        f"{WEBHOOKS}::TestTheSimulatorsWebhooks::test_that_are_forged_do_nothing",
        f"{WEBHOOKS}::TestAVerifiedWebhook::test_repeated_asks_once",
        f"{WEBHOOKS}::TestAVerifiedWebhook::test_for_another_shops_order_finds_nothing",
        f"{WEBHOOKS}::TestAnEarlyWebhook::test_waits_while_the_request_is_on_its_way",
    ),
    "X6": (
        f"{REST}::TestAnotherTenant::test_scenario_13_key_of_a_with_header_of_b_sees_and_changes_only_a",
        "tests/functional/test_doors.py::TestAnotherTenant"
        "::test_scenario_13_key_of_a_with_header_of_b_sees_and_changes_only_a",
        "tests/functional/test_admin.py::TestAForeignRow::test_does_not_exist",
        "tests/functional/test_panel.py::TestAForeignOrder::test_does_not_exist",
    ),
    "X7": (
        f"{DISPATCH}::TestADispatch::test_puts_neither_pin_nor_password_into_the_log",
        f"{TRANSPORT}::TestSecrets::test_nothing_is_logged_or_shown",
        f"{SUITE}::AdapterContract::test_shows_no_secret_in_a_call_s_text",
        f"{ALERTS}::TestAMessage::test_tells_no_name_no_code_and_no_secret",
        "tests/functional/test_metrics.py::TestTheText::test_holds_no_name_no_code_and_no_secret",
    ),
    "X8": (f"{DISPATCH}::TestADispatch::test_draws_a_reference_of_eighteen_digits",),
    "X9": (
        "tests/functional/test_panel.py::TestTheStory::test_escapes_the_providers_words",
        "tests/functional/test_sheets.py::TestExport::test_holds_no_formula",
    ),
    "X10": ("tests/functional/test_api_keys.py::TestALimit::test_of_one_shop_leaves_another_alone",),
    # time
    "Z1": (
        "tests/unit/test_actions.py::TestKnownStories::test_an_order_past_the_provider_s_memory_is_a_person_s",
        "tests/unit/test_verdicts.py::TestAQuestionThatMustNotBePut"
        "::test_for_good_makes_it_a_persons_question_with_a_daily_reminder",
    ),
    "Z2": ("tests/unit/test_actions.py::TestKnownStories::test_a_digiflazz_order_of_91_days_is_never_asked_about",),
    "Z3": (
        f"{LINES}::TestALine::test_at_a_time_that_there_is_not_is_a_fault",
        f"{LINES}::TestALine::test_may_be_after_the_end_of_32_bits",
        f"{LINES}::TestALine::test_outside_all_calendars_is_a_fault",
    ),
    "Z4": (
        f"{MONITORING}::TestTheDeadline::test_makes_an_open_order_a_persons_question_with_the_money_held",
        f"{MONITORING}::TestTheDeadline::test_goes_on_asking_every_ten_minutes",
        f"{ALERTS}::TestARealTrouble::test_of_a_review_that_waits",
        STATEFUL,
    ),
    "Z5": (
        f"{DISPATCH}::TestADispatch::test_holds_its_unit_before_the_request_leaves",
        "tests/unit/test_actions.py::TestKnownStories::test_what_may_be_on_the_wire_is_left_alone",
    ),
}
