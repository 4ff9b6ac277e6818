"""What sampling costs: counted, predicted at the roofline, timed, weighed in memory and joules."""
