# bash completion for postoffice -*- shell-script -*-
# Made from the programs' own tables by make man; changes belong there.

_postoffice() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} applet=${COMP_WORDS[0]##*/}
	local first=1 flags= verbs= values= options=
	options='listen= msp= msps= tls-cert= tls-key= tls-ask= auth= auth-mechanisms= auth-port25= auth-without-tls= sender-logins= hide-client= queue-dir= mail-dir= stop-time= require-home= db-dir= run-dir= aliases= vhost-dir= vhost-spool= vhost-user= vhost-quota= vhost-mailbox= vhost-folder= usermap= recipient-delimiter= mailbox= mailer= default-user= program-dir= program-time= program-capabilities= server-user= trusted-users= queue-view= hostname= local-domains= local-by-dns= trusted= proxy-from= xclient-from= localmx= relay= mxpool= relay-host= relay-passwords= relay-password-command= relay-tls= routes= masquerade= sender-map= forward-all= smtp-port= dns-server= hosts-allow= hosts-deny= forbidden= paranoid= dnscheck= checkhelo= verify-from= nodaemon= soft-deny= banner= debug= audit= greet-delay= early-talk= soft-errors= error-delay= hard-errors= rate-time= rate-connections= rate-messages= rate-recipients= rate-unknown= rate-logins= coal= size= timeout= clients= clients-per-address= load= minfree= hops= queue-interval= qreturn= bare-newline= immediate= queue-only= escape-from= greylist= delay= greylist-from= greylist-network= greylist-pools= greylist-null-window= greylist-written= greylist-after= greylist-exempt-clients= greylist-exempt-senders= greylist-exempt-recipients= greylist-age= greylist-store-failed= filter= filters-for-sendmail= spam= safe= av= av-user= av-time= av-infected= log= log-format='
	COMPREPLY=()
	if [[ $applet == postoffice ]]; then
		if ((COMP_CWORD == 1)); then
			COMPREPLY=($(compgen -W '--help --version smtpd sendmail mailq runq queue route sessions limits authexpire greylist vdomain vpasswd newaliases dbm config check-relay milter status stop reload restart install uninstall' -- "$cur"))
			return
		fi
		applet=${COMP_WORDS[1]} first=2
	fi
	case $applet in
	smtpd)
		flags='-d --foreground -b --mode -a --audit -q --queue -C --config -o --option -V --version --help'
		values='-b --mode -q --queue'
		;;
	sendmail)
		flags='-f --sender -r --return -F --full-name -t --recipients -i --ignore-dots -N --notify -R --return-what --envelope-id --delivery-mode -v --verbose --wait --json -b --mode -I --aliases -q --queue -C --config -o --option -V --version --help'
		values='-f --sender -r --return -F --full-name -N --notify -R --return-what --envelope-id --delivery-mode --wait -b --mode'
		;;
	mailq)
		flags='--json -C --config -o --option -V --version --help'
		;;
	runq)
		flags='-v --verbose -C --config -o --option -V --version --help'
		;;
	queue)
		flags='-n --dry-run --json --reroute --to --from --host --older --reason -C --config -o --option -V --version --help'
		verbs='list show cat hold release retry bounce remove'
		values='--to --from --host --older --reason'
		;;
	route)
		flags='--json --from -C --config -o --option -V --version --help'
		values='--from'
		;;
	sessions)
		flags='--json -C --config -o --option -V --version --help'
		;;
	limits)
		flags='--json -C --config -o --option -V --version --help'
		;;
	authexpire)
		flags='-E --forbidden -n --dry-run -u --waiting -z --null -v --verbose -l --list -w --wide -a --allow -b --forbid -d --deny -e --explain --json -C --config -o --option -V --version --help'
		values='-a --allow -b --forbid -d --deny -e --explain'
		;;
	greylist)
		flags='--since --json -C --config -o --option -V --version --help'
		verbs='report'
		values='--since'
		;;
	vdomain)
		flags='--owner --comment -C --config -o --option -V --version --help'
		verbs='add del enable disable list'
		values='--owner --comment'
		;;
	vpasswd)
		flags='-C --config -o --option -V --version --help'
		verbs='add set del enable disable quota list check'
		;;
	newaliases)
		flags='-C --config -o --option -V --version --help'
		;;
	dbm)
		flags='-d --database -v --verbose -C --config -o --option -V --version --help'
		verbs='clear create delete dump fetch insert load mend update'
		values='-d --database'
		;;
	config)
		flags='--check --json -C --config -o --option -V --version --help'
		verbs=${options//=/}
		first=$COMP_CWORD
		;;
	check-relay)
		flags='-v --verbose -C --config -o --option -V --version --help'
		;;
	milter)
		flags='-m --message -C --config -o --option -V --version --help'
		verbs='test'
		values='-m --message'
		;;
	status)
		flags='-C --config -o --option -V --version --help'
		;;
	stop)
		flags='-C --config -o --option -V --version --help'
		;;
	reload)
		flags='-C --config -o --option -V --version --help'
		;;
	restart)
		flags='-C --config -o --option -V --version --help'
		;;
	install)
		flags='--root --prefix --links --mailer-conf --dry-run -C --config -o --option -V --version --help'
		values='--root --prefix --links --mailer-conf'
		;;
	uninstall)
		flags='--root --prefix --links --mailer-conf --dry-run -C --config -o --option -V --version --help'
		values='--root --prefix --links --mailer-conf'
		;;
	*) return ;;
	esac
	case $prev in
	-C | --config)
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	-o | --option)
		compopt -o nospace 2>/dev/null
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
		return
		;;
	esac
	[[ " $values " == *" $prev "* ]] && return
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	elif ((COMP_CWORD == first)); then
		COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
	fi
}
complete -o default -F _postoffice postoffice sendmail mailq runq smtpd newaliases authexpire
